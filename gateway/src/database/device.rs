//! Devices: registration, status, release, listing.

use std::net::IpAddr;

use deadpool_postgres::GenericClient;
use nebula_api::device::Device;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{each, one, rows};
use crate::ApiError;
use crate::config::Facts;

/// What a device asks for, checked.
pub struct NewDevice<'a> {
    /// Project to join.
    pub project_id: Uuid,
    /// Identifier of the device.
    pub device_id: Uuid,
    /// Name in the certificate.
    pub name: &'a str,
    /// `25519` or `P256`.
    pub curve: &'a str,
    /// Raw public key.
    pub public_key: &'a [u8],
    /// `host`, `lighthouse` or `relay`.
    pub role: &'a str,
    /// `host:port` on the underlay.
    pub endpoints: &'a [String],
}

/// Makes or renews a device and its address. Call it in the transaction that records the certificate.
///
/// # Errors
/// 404 no such project, 403 not allowed, 409 other project, name taken or revoked, 507 pool exhausted.
pub async fn register(
    client: &impl GenericClient,
    actor: Uuid,
    device: &NewDevice<'_>,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.register_device($1, $2, $3, $4, $5, $6, $7, $8, $9::text::inet)";
    let address = address.map(|address| address.to_string());
    one(
        client,
        sql,
        &[
            &actor,
            &device.project_id,
            &device.device_id,
            &device.name,
            &device.curve,
            &device.public_key,
            &device.role,
            &device.endpoints,
            &address,
        ],
    )
    .await
    .map(drop)
}

/// Everything the configuration of a device is made from, and the version it belongs to; with a key also the
/// certificates that were signed for it.
///
/// # Errors
/// 404 no such device.
pub async fn configuration(
    client: &impl GenericClient,
    device_id: Uuid,
    public_key: Option<&[u8]>,
) -> Result<Facts, ApiError> {
    let sql = "SELECT nebula.device_configuration($1, $2)";
    let found: Option<Json<Facts>> = one(client, sql, &[&device_id, &public_key]).await?.try_get(0)?;
    let missing = || ApiError::not_found(format!("there is no device {device_id}")).hint("Register it.");
    found.map(|Json(facts)| facts).ok_or_else(missing)
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
