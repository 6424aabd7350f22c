//! Devices: registration, status, release, listing.

use std::net::IpAddr;
use std::sync::Arc;

use deadpool_postgres::GenericClient;
use ipnetwork::IpNetwork;
use nebula_api::device::Device;
use nebula_certificate::PublicKey;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::project::Configuration;
use super::{Unit, array, column, each, one, rows};
use crate::ApiError;
use crate::authority::curve_name;
use crate::config::{Common, Facts, Role, Rule};

/// What a device asks for, checked.
#[derive(Debug)]
pub struct NewDevice {
    /// On whose word.
    pub by: By,
    /// Project to join.
    pub project_id: Uuid,
    /// Identifier of the device.
    pub device_id: Uuid,
    /// Name in the certificate.
    pub name: String,
    /// Its key, of the project's curve.
    pub public_key: PublicKey,
    /// `host`, `lighthouse` or `relay`.
    pub role: &'static str,
    /// `host:port` on the underlay.
    pub endpoints: Vec<String>,
    /// Where it calls from.
    pub client: Option<IpAddr>,
}

/// On whose word a device is registered.
#[derive(Debug)]
pub enum By {
    /// An account's.
    Account(Uuid),
    /// That of whoever made the enrolment code with this hash.
    Code(Vec<u8>),
}

/// Makes or renews devices of a project and their addresses, all or none, in a unit that begins with it; answers what
/// their configurations are made from, the project's part with the first. By a code there is one device.
///
/// # Errors
/// 404 no such project, or the code is not good for it; 403 not allowed; 409 other project, name taken, revoked, or looked
/// after by an agent; 429 too often; 507 pool exhausted.
pub async fn register(unit: &mut Unit, devices: &[NewDevice], known: i64) -> Result<Vec<Found>, ApiError> {
    let Some(first) = devices.first() else { return Ok(vec![]) };
    let identifiers = column(devices, |device| device.device_id);
    let clients = column(devices, |device| device.client.map(|client| client.to_string()));
    let configurations = unit.prepare_cached(CONFIGURATIONS).await?;
    let asked: [&(dyn ToSql + Sync); 3] = [&identifiers, &None::<&[&[u8]]>, &known];
    let rows = match &first.by {
        By::Account(_) => {
            let actors = column(devices, |device| match device.by {
                By::Account(actor) => Some(actor),
                By::Code(_) => None,
            });
            let values: [&(dyn ToSql + Sync); 9] = [
                &first.project_id,
                &actors,
                &identifiers,
                &column(devices, |device| device.name.as_str()),
                &column(devices, |device| curve_name(device.public_key.curve())),
                &column(devices, |device| device.public_key.bytes()),
                &column(devices, |device| device.role),
                &column(devices, |device| array(&device.endpoints)),
                &clients,
            ];
            let sql = "SELECT nebula.register_devices($1, $2, $3, $4, $5, $6, $7, $8, $9::text[]::inet[])";
            let register = unit.prepare_cached(sql).await?;
            unit.both((register, &values), (configurations, &asked)).await?.1
        }
        By::Code(hash) => {
            let NewDevice { project_id, device_id, name, endpoints, public_key, .. } = first;
            let (curve, key) = (curve_name(public_key.curve()), public_key.bytes());
            let values: [&(dyn ToSql + Sync); 8] =
                [hash, project_id, device_id, name, endpoints, &curve, &key, &clients[0]];
            let sql = "SELECT nebula.register_by_code($1, $2, $3, $4, $5, $6, $7, $8::text::inet)";
            let register = unit.prepare_cached(sql).await?;
            unit.both((register, &values), (configurations, &asked)).await?.1
        }
    };
    rows.iter().zip(identifiers).map(|(row, device_id)| found(row, device_id)).collect()
}

pub(super) const CONFIGURATIONS: &str = "SELECT * FROM nebula.device_configurations($1, $2, $3)";

/// A device's part of its configuration.
pub struct Found {
    /// The project's part, unless that is of the version the caller knows.
    pub newer: Option<Configuration>,
    device_id: Uuid,
    name: String,
    role: Role,
    endpoints: Vec<String>,
    groups: Vec<String>,
    networks: Vec<IpNetwork>,
    unsafe_networks: Vec<IpNetwork>,
    lifetime_seconds: Option<u64>,
    inbound: Vec<Rule>,
    outbound: Vec<Rule>,
    certificate: Option<String>,
}

impl Found {
    /// Whole, with the project's part.
    pub fn with(self, common: Arc<Common>) -> Facts {
        let Self { device_id, name, role, endpoints, groups, networks, unsafe_networks, .. } = self;
        let Self { lifetime_seconds, inbound, outbound, certificate, .. } = self;
        Facts {
            common,
            device_id,
            name,
            role,
            endpoints,
            groups,
            networks,
            unsafe_networks,
            lifetime_seconds,
            inbound,
            outbound,
            certificate,
        }
    }
}

/// What the configuration of a device is made from, and what that of its project is unless it is `known`.
///
/// # Errors
/// 404 no such device.
pub async fn configuration(
    client: &impl GenericClient,
    device_id: Uuid,
    known: i64,
) -> Result<Found, ApiError> {
    let (devices, keys) = ([device_id], None::<&[&[u8]]>);
    found(&one(client, CONFIGURATIONS, &[&devices.as_slice(), &keys, &known]).await?, device_id)
}

pub(super) fn found(row: &Row, device_id: Uuid) -> Result<Found, ApiError> {
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
    Ok(Found {
        newer: row.try_get::<_, Option<Json<_>>>("project")?.map(|Json(project)| project),
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
    })
}

/// Devices the account sees, of one project or all.
///
/// # Errors
/// Those of the database.
pub async fn list(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Option<Uuid>,
) -> Result<Vec<Device>, ApiError> {
    each(&rows(client, "SELECT * FROM nebula.list_devices($1, $2)", &[&actor, &project_id]).await?, device)
}

/// One device, for its owner or an administrator.
///
/// # Errors
/// 404 when there is none, or it is not theirs.
pub async fn status(client: &impl GenericClient, actor: Uuid, device_id: Uuid) -> Result<Device, ApiError> {
    let row = one(client, "SELECT * FROM nebula.device_status_for($1, $2)", &[&actor, &device_id]).await?;
    Ok(device(&row)?)
}

/// Releases the address of a device; answers which it was.
///
/// # Errors
/// 403 not an administrator, 404 no such device, 409 it holds no address.
pub async fn release(
    client: &impl GenericClient,
    actor: Uuid,
    device_id: Uuid,
    address: Option<IpAddr>,
) -> Result<String, ApiError> {
    let address = address.map(|address| address.to_string());
    let sql = "SELECT nebula.release_device($1, $2, $3::text::inet)";
    Ok(one(client, sql, &[&actor, &device_id, &address]).await?.try_get(0)?)
}

fn device(row: &Row) -> Result<Device, tokio_postgres::Error> {
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
    })
}
