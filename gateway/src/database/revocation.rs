//! Revocation: begun by administrators, complete when every member runs the blocklist.

use std::net::IpAddr;

use nebula_api::revocation::Revocation;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, query_one};
use crate::error::ApiError;

/// Revokes a device for good.
/// Fails with 403 not an administrator, 404 no such device.
pub(crate) async fn device(
    client: &impl GenericClient,
    actor: &Account,
    device_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.revoke_device_for(nebula.actor($1), $2, $3)";
    query_one(client, sql, &[&actor, &device_id, &address]).await.map(drop)
}

/// Revokes a certificate and the others of its key; answers their device.
/// Fails with 403 not an administrator, 404 no such certificate.
pub(crate) async fn certificate(
    client: &impl GenericClient,
    actor: &Account,
    fingerprint: &str,
    address: Option<IpAddr>,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.revoke_certificate_for(nebula.actor($1), $2, $3)";
    Ok(query_one(client, sql, &[&actor, &fingerprint, &address]).await?.try_get(0)?)
}

/// How far the revocation of a device has come.
/// Fails with 403 not an administrator, 404 no such device.
pub(crate) async fn status(
    client: &impl GenericClient,
    actor: &Account,
    device_id: Uuid,
) -> Result<Revocation, ApiError> {
    let row = query_one(
        client,
        "SELECT * FROM nebula.device_revocation(nebula.actor($1), $2)",
        &[&actor, &device_id],
    )
    .await?;
    Ok(Revocation {
        device_id: row.try_get("device_id")?,
        name: row.try_get("name")?,
        fingerprints: row.try_get("fingerprints")?,
        revoked_at: row.try_get("revoked_at")?,
        version: row.try_get("version")?,
        members: row.try_get("members")?,
        acknowledged: row.try_get("acknowledged")?,
        missing: row.try_get("missing")?,
        revoked_everywhere_at: row.try_get("revoked_everywhere_at")?,
    })
}
