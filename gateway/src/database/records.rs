//! Rows that functions take as arrays: each struct is a composite type of the database, with the same field
//! names.

use std::net::IpAddr;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use postgres_protocol::types::inet_to_sql;
use postgres_types::private::BytesMut;
use postgres_types::{IsNull, ToSql, Type, accepts, to_sql_checked};
use uuid::Uuid;

/// `nebula.new_device`, for `register_devices`.
#[derive(Debug, ToSql)]
#[postgres(name = "new_device")]
pub(super) struct NewDeviceRow<'a> {
    pub(super) device_id: Uuid,
    pub(super) actor: Option<Uuid>,
    pub(super) name: &'a str,
    pub(super) role: &'a str,
    pub(super) endpoints: &'a [String],
    pub(super) curve: &'a str,
    pub(super) public_key: &'a [u8],
    pub(super) client: Option<IpAddr>,
    pub(super) request_id: Option<&'a str>,
}

/// `nebula.event_filter`, for `list_events`.
#[derive(Debug, ToSql)]
#[postgres(name = "event_filter")]
pub(super) struct EventFilterRow<'a> {
    pub(super) project_id: Option<Uuid>,
    pub(super) subject: Option<&'a str>,
    pub(super) subject_id: Option<&'a str>,
    pub(super) actor: Option<&'a str>,
    pub(super) action: Option<&'a str>,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) after: Option<i64>,
    pub(super) before: Option<i64>,
    pub(super) event_ids: Option<&'a [i64]>,
}

/// `nebula.new_certificate`, for `record_certificates`.
#[derive(Debug, ToSql)]
#[postgres(name = "new_certificate")]
pub(super) struct NewCertificateRow<'a> {
    pub(super) actor: Option<Uuid>,
    pub(super) code_hash: Option<&'a [u8]>,
    pub(super) counter: Option<i64>,
    pub(super) device_id: Uuid,
    pub(super) fingerprint: &'a [u8],
    pub(super) alternate_fingerprint: Option<&'a [u8]>,
    pub(super) name: &'a str,
    pub(super) version: i16,
    pub(super) curve: &'a str,
    pub(super) networks: Vec<Inet>,
    pub(super) unsafe_networks: Vec<Inet>,
    pub(super) groups: &'a [String],
    pub(super) public_key: &'a [u8],
    pub(super) issuer: &'a [u8],
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) pem: &'a str,
}

/// `nebula.agent_call`, for `agent_keys` (which reads device and counter only) and `update_agents`.
#[derive(Debug, Default, ToSql)]
#[postgres(name = "agent_call")]
pub(super) struct AgentCallRow<'a> {
    pub(super) device_id: Uuid,
    pub(super) counter: i64,
    pub(super) host_key: Option<&'a [u8]>,
    pub(super) said_at: Option<DateTime<Utc>>,
    pub(super) new_host_key: Option<&'a [u8]>,
    pub(super) new_public_key: Option<&'a [u8]>,
}

/// An `inet` with its prefix length.
#[derive(Debug)]
pub(super) struct Inet(pub(super) IpNetwork);

impl ToSql for Inet {
    fn to_sql(
        &self,
        _: &Type,
        buffer: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        inet_to_sql(self.0.ip(), self.0.prefix(), buffer);
        Ok(IsNull::No)
    }

    accepts!(INET);
    to_sql_checked!();
}
