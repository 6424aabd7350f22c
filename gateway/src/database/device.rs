//! Devices: registration, configuration, status, release, listing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nebula_api::device::Device;
use nebula_certificate::PublicKey;
use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::PipelinedTransaction;
use super::project::ConfiguredProject;
use super::proof::Account;
use super::query::{GenericClient, collect_column, map_rows, query, query_one};
use super::records::NewDeviceRow;
use crate::error::ApiError;

/// The role of a device in the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Host,
    /// Tells other devices where everyone is.
    Lighthouse,
    /// Carries traffic for devices that cannot reach each other.
    Relay,
}

impl Role {
    /// Reads the word used in the API and the database.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Host, Self::Lighthouse, Self::Relay].into_iter().find(|role| role.word() == text)
    }

    /// The word used in the API and the database.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Lighthouse => "lighthouse",
            Self::Relay => "relay",
        }
    }
}

/// A registration that was checked.
#[derive(Debug)]
pub(crate) struct NewDevice {
    pub(crate) registrant: Registrant,
    pub(crate) project_id: Uuid,
    pub(crate) device_id: Uuid,
    /// Name in the certificate.
    pub(crate) name: String,
    /// Of the project's curve.
    pub(crate) public_key: PublicKey,
    pub(crate) role: Role,
    /// `host:port` on the underlay.
    pub(crate) endpoints: Vec<String>,
    /// Address of the HTTP client.
    pub(crate) client: Option<IpAddr>,
}

/// The authority by which a device is registered.
#[derive(Debug)]
pub(crate) enum Registrant {
    Account(Account),
    /// Hash of an enrolment code; the account that made the code vouches for the device.
    Code(Vec<u8>),
}

impl Registrant {
    /// The account that registers the device.
    pub(crate) fn account(&self) -> Option<&Account> {
        match self {
            Self::Account(account) => Some(account),
            Self::Code(_) => None,
        }
    }
}

/// A device's part of its configuration.
#[derive(Debug, Clone)]
pub(crate) struct DeviceRow {
    pub(crate) device_id: Uuid,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// `host:port` where others reach it; it listens on the port of the first.
    pub(crate) endpoints: Vec<String>,
    /// Groups for firewall rules.
    pub(crate) groups: Vec<String>,
    /// Its addresses with the prefix length of the overlay, IPv4 first.
    pub(crate) networks: Vec<IpNetwork>,
    /// Networks behind it.
    pub(crate) unsafe_networks: Vec<IpNetwork>,
    /// How long its certificates are to be valid, if the project sets it.
    pub(crate) lifetime_seconds: Option<u64>,
    pub(crate) inbound: Vec<FirewallRule>,
    pub(crate) outbound: Vec<FirewallRule>,
    /// The last certificates signed for the key that was asked for.
    pub(crate) certificate: Option<String>,
}

/// A firewall rule of `nebula.yml`. Without groups, network and host it applies to every peer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FirewallRule {
    /// Of a rule of the project.
    pub(crate) rule_id: Option<i64>,
    pub(crate) protocol: String,
    pub(crate) port_first: Option<u16>,
    pub(crate) port_last: Option<u16>,
    pub(crate) groups: Vec<String>,
    pub(crate) cidr: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) local: Option<String>,
}

/// An answer of `nebula.device_configurations`.
pub(crate) struct DeviceConfiguration {
    pub(crate) device: DeviceRow,
    /// The project's part, if its version is not the one the caller knows.
    pub(crate) newer_project: Option<ConfiguredProject>,
}

pub(super) const DEVICE_CONFIGURATIONS: &str =
    "SELECT * FROM nebula.device_configurations(nebula.actor($1), $2, $3, $4)";

/// Makes or renews devices of a project and their addresses, all or none, as the first statements of
/// `transaction`; answers their configurations, the project's part with the first. By a code it takes one
/// device. Fails with 404 no such project, or the code is not good for it; 403 not allowed; 409 other
/// project, name taken, revoked, or looked after by an agent; 429 too often; 507 pool exhausted.
pub(crate) async fn register(
    transaction: &mut PipelinedTransaction,
    devices: &[NewDevice],
    known_version: i64,
) -> Result<Vec<DeviceConfiguration>, ApiError> {
    let Some(first) = devices.first() else { return Ok(vec![]) };
    let identifiers = collect_column(devices, |device| device.device_id);
    let configurations = transaction.prepare(DEVICE_CONFIGURATIONS).await?;
    let gateway = transaction.gateway().clone();
    let arguments: [&(dyn ToSql + Sync); 4] = [&gateway, &identifiers, &None::<&[&[u8]]>, &known_version];
    let rows = match &first.registrant {
        Registrant::Account(_) => {
            let rows = collect_column(devices, |device| NewDeviceRow {
                device_id: device.device_id,
                actor: device.registrant.account().map(|account| account.id),
                name: &device.name,
                role: device.role.word(),
                endpoints: &device.endpoints,
                curve: device.public_key.curve().short_name(),
                public_key: device.public_key.bytes(),
                client: device.client,
                request_id: device.registrant.account().and_then(Account::request_id),
            });
            let mut proofs: Vec<&Account> =
                devices.iter().filter_map(|new| new.registrant.account()).collect();
            proofs.sort_by_key(|account| account.id);
            proofs.dedup_by_key(|account| (account.id, account.grant));
            let sql = "SELECT nebula.register_devices(nebula.actor($1), $2, $3, $4)";
            let register = transaction.prepare(sql).await?;
            let values: [&(dyn ToSql + Sync); 4] = [&gateway, &first.project_id, &rows, &proofs];
            transaction.query_two((register, &values), (configurations, &arguments)).await?.1
        }
        Registrant::Code(hash) => {
            let NewDevice { project_id, device_id, name, endpoints, public_key, client, .. } = first;
            let (curve, key) = (public_key.curve().short_name(), public_key.bytes());
            let values: [&(dyn ToSql + Sync); 9] =
                [&gateway, hash, project_id, device_id, name, endpoints, &curve, &key, client];
            let sql = "SELECT nebula.register_by_code(nebula.actor($1), $2, $3, $4, $5, $6, $7, $8, $9)";
            let register = transaction.prepare(sql).await?;
            transaction.query_two((register, &values), (configurations, &arguments)).await?.1
        }
    };
    rows.iter().zip(identifiers).map(|(row, device_id)| read_configuration(row, device_id)).collect()
}

/// The configuration of one device. Fails with 404 if there is no such device.
pub(crate) async fn configuration(
    client: &impl GenericClient,
    device_id: Uuid,
    known_version: i64,
) -> Result<DeviceConfiguration, ApiError> {
    let (devices, keys) = ([device_id], None::<&[&[u8]]>);
    let values: [&(dyn ToSql + Sync); 4] = [client.gateway(), &devices.as_slice(), &keys, &known_version];
    let row = query_one(client, DEVICE_CONFIGURATIONS, &values).await?;
    read_configuration(&row, device_id)
}

pub(super) fn read_configuration(row: &Row, device_id: Uuid) -> Result<DeviceConfiguration, ApiError> {
    let role: Option<&str> = row.try_get("role")?;
    let role = role
        .and_then(Role::parse)
        .ok_or_else(|| ApiError::not_found(format!("there is no device {device_id}")).hint("Register it."))?;
    let networks = |column| {
        let texts: Vec<&str> = row.try_get(column)?;
        let parsed: Result<Vec<_>, _> = texts.into_iter().map(str::parse).collect();
        parsed.map_err(|error: ipnetwork::IpNetworkError| ApiError::internal(&error))
    };
    let rules = |column| row.try_get(column).map(|Json(rules)| rules);
    Ok(DeviceConfiguration {
        newer_project: row.try_get::<_, Option<Json<_>>>("project")?.map(|Json(project)| project),
        device: DeviceRow {
            device_id,
            name: row.try_get("name")?,
            role,
            endpoints: row.try_get("endpoints")?,
            groups: row.try_get("groups")?,
            networks: networks("networks")?,
            unsafe_networks: networks("unsafe_networks")?,
            lifetime_seconds: row.try_get::<_, Option<i64>>("lifetime_seconds")?.map(i64::unsigned_abs),
            inbound: rules("inbound")?,
            outbound: rules("outbound")?,
            certificate: row.try_get("certificate")?,
        },
    })
}

/// Devices the account sees, of one project or all.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
) -> Result<Vec<Device>, ApiError> {
    let sql = "SELECT * FROM nebula.list_devices(nebula.actor($1), $2)";
    map_rows(&query(client, sql, &[&actor, &project_id]).await?, read_device)
}

/// A device that the account sees. Fails with 404 if there is none.
pub(crate) async fn find(
    client: &impl GenericClient,
    actor: &Account,
    device_id: Uuid,
) -> Result<Device, ApiError> {
    let sql = "SELECT * FROM nebula.list_devices(nebula.actor($1), NULL, $2)";
    let found = map_rows(&query(client, sql, &[&actor, &device_id]).await?, read_device)?.pop();
    found.ok_or_else(|| ApiError::not_found(format!("there is no device {device_id}")).hint("List devices."))
}

/// A page of devices.
#[derive(Debug)]
pub(crate) struct DevicePage<'a> {
    pub(crate) project_id: Option<Uuid>,
    /// Fields of the filter of `nebula.page_devices`.
    pub(crate) filter: &'a Value,
    /// `name`, `registered` or `seen`.
    pub(crate) sort: &'a str,
    pub(crate) is_descending: bool,
    /// Key and identifier of the last device of the page before.
    pub(crate) after: Option<&'a Value>,
    pub(crate) max: Option<i32>,
}

/// A page of the devices that the account sees, with their keys in this order.
pub(crate) async fn page(
    client: &impl GenericClient,
    actor: &Account,
    asked: &DevicePage<'_>,
) -> Result<Vec<(Device, String)>, ApiError> {
    let DevicePage { project_id, filter, sort, is_descending, after, max } = asked;
    let sql = "SELECT * FROM nebula.page_devices(nebula.actor($1), $2, $3, $4, $5, $6, $7)";
    let rows = query(client, sql, &[&actor, project_id, filter, sort, is_descending, after, max]).await?;
    map_rows(&rows, |row| Ok((read_device(row)?, row.try_get("sort_key")?)))
}

/// How many devices the account sees in each state, of those with this part in their names.
pub(crate) async fn count(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
    q: Option<&str>,
) -> Result<BTreeMap<String, i64>, ApiError> {
    let sql = "SELECT state, devices FROM nebula.count_devices(nebula.actor($1), $2, $3)";
    let rows = query(client, sql, &[&actor, &project_id, &q]).await?;
    rows.iter().map(|row| Ok((row.try_get("state")?, row.try_get("devices")?))).collect()
}

/// One device, for its owner or an administrator. Fails with 404 for anyone else.
pub(crate) async fn status(
    client: &impl GenericClient,
    actor: &Account,
    device_id: Uuid,
) -> Result<Device, ApiError> {
    let sql = "SELECT * FROM nebula.device_status_for(nebula.actor($1), $2)";
    Ok(read_device(&query_one(client, sql, &[&actor, &device_id]).await?)?)
}

/// Releases the address of a device and answers it. Fails with 403 not an administrator, 404 no such device,
/// 409 it holds no address.
pub(crate) async fn release(
    client: &impl GenericClient,
    actor: &Account,
    device_id: Uuid,
    address: Option<IpAddr>,
) -> Result<String, ApiError> {
    let sql = "SELECT nebula.release_device(nebula.actor($1), $2, $3)";
    Ok(query_one(client, sql, &[&actor, &device_id, &address]).await?.try_get(0)?)
}

fn read_device(row: &Row) -> Result<Device, tokio_postgres::Error> {
    Ok(Device {
        device_id: row.try_get("device_id")?,
        project_id: row.try_get("project_id")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
        owner: row.try_get("owner")?,
        nebula_ip: row.try_get("ip")?,
        pool: row.try_get("pool")?,
        endpoints: row.try_get("endpoints")?,
        curve: row.try_get("curve")?,
        registered_at: row.try_get("registered_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
        revoked_at: row.try_get("revoked_at")?,
        fingerprint: row.try_get("fingerprint")?,
        certificate_not_after: row.try_get("certificate_not_after")?,
        groups: row.try_get("groups")?,
    })
}
