//! The options that describe a device that is to join.

use clap::Args;
use nebula_api::enrolment::EnrolmentRequest;
use uuid::Uuid;

use super::super::endpoint::parse_endpoint;

#[derive(Args, Debug)]
pub(super) struct NewDevice {
    /// Name of the device [default: the device chooses]
    #[arg(long)]
    name: Option<String>,
    /// Role in the network [default: host]
    #[arg(long, value_parser = ["host", "lighthouse", "relay"])]
    role: Option<String>,
    /// Groups for firewall rules
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// host:port outside of the overlay where other devices reach it
    #[arg(long = "endpoint", value_name = "HOST:PORT", value_parser = parse_endpoint)]
    endpoints: Vec<String>,
    /// This overlay address and no other
    #[arg(long, value_name = "IP")]
    address: Option<String>,
}

impl NewDevice {
    /// A request for one use that is valid for the usual time.
    pub(super) fn into_request(self, project_id: Uuid) -> EnrolmentRequest {
        EnrolmentRequest {
            project_id,
            device_id: None,
            name: self.name,
            role: self.role,
            groups: self.groups,
            endpoints: self.endpoints,
            address: self.address,
            uses: None,
            lifetime_seconds: None,
        }
    }
}
