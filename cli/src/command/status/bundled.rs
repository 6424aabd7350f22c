//! The part of `status` about a device that joined without a code, and has no agent.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use nebula_certificate::Certificate;
use serde::Serialize;

use super::local::validity;
use crate::atomic_file;
use crate::command::join::bundle_folder::{self, Membership};
use crate::error::Result;
use crate::output::clean;

/// A device without an agent. The fields are those of a device with one, as far as they are known here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bundled {
    server: String,
    network: Network,
    host: Host,
    dir: PathBuf,
    agent_pid: Option<u32>,
    /// End of its certificate.
    certificate_not_after: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize)]
struct Network {
    id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Host {
    id: String,
    name: String,
    ip_address: Option<String>,
    role: String,
}

impl Bundled {
    /// Reads the device in this folder, if there is one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let Some(Membership { server, project_id, device_id, device_name, role, .. }) =
            bundle_folder::membership(folder)?
        else {
            return Ok(None);
        };
        // A folder whose join was refused has no certificate yet.
        let text = atomic_file::read_if_exists(&folder.join("node.crt"))?.unwrap_or_default();
        let certificates = Certificate::parse(&text).unwrap_or_default();
        let not_after = certificates.iter().map(|certificate| certificate.details().not_after).min();
        let network = certificates.first().and_then(|first| first.details().networks.first());
        Ok(Some(Self {
            server,
            network: Network { id: project_id.to_string() },
            host: Host {
                id: device_id.to_string(),
                name: device_name,
                ip_address: network.map(|network| network.ip().to_string()),
                role,
            },
            dir: folder.to_owned(),
            agent_pid: None,
            certificate_not_after: not_after.and_then(|at| DateTime::from_timestamp(at, 0)),
        }))
    }

    /// As text.
    pub(super) fn text(&self, now: DateTime<Utc>) -> String {
        let (name, address) =
            (clean(&self.host.name), self.host.ip_address.as_deref().unwrap_or("no address"));
        let mut lines = vec![
            format!("Device    {name} ({}): {address}", clean(&self.host.role)),
            format!("Folder    {}", self.dir.display()),
            format!(
                "Agent     none, because it joined without a code; one takes over with a code for it: \
                 nebulactl enrolment create --device {name}"
            ),
        ];
        lines.extend(self.certificate_not_after.map(|until| validity(until, now)));
        lines.push(format!("Gateway   {}", self.server));
        lines.join("\n")
    }
}
