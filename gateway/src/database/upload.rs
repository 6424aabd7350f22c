//! Uploads that have begun and not ended: they count to quotas, at every gateway.

use std::time::Duration;

use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, query, query_one};
use crate::error::ApiError;

/// An upload that begins or goes on.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) upload_id: Uuid,
    /// `None`: the database chooses one of the account's.
    pub(crate) project_id: Option<Uuid>,
    /// Bytes that it will have at least.
    pub(crate) size: u64,
    /// As announced.
    pub(crate) sha256: Option<[u8; 32]>,
    /// How long it counts, unless it goes on.
    pub(crate) lifetime: Duration,
    /// Uploads that it is joined from.
    pub(crate) parts: &'a [Uuid],
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted {
    /// The project that it counts to.
    pub(crate) project_id: Uuid,
    /// The size that quotas allow it; `None`: any.
    pub(crate) room: Option<u64>,
}

fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX / 2)
}

/// Counts an upload. Fails with 507 or 413 if it does not fit, and as [`super::file::named`].
pub(crate) async fn admit(
    client: &impl GenericClient,
    actor: &Account,
    claim: &Claim<'_>,
) -> Result<Admitted, ApiError> {
    let sql = "SELECT project_id, room
                 FROM nebula.admit_upload(nebula.actor($1), $2, $3, $4, $5, make_interval(secs => $6), $7)";
    let (size, sha256) = (bytes(claim.size), claim.sha256.as_ref().map(|sha256| &sha256[..]));
    let lifetime = claim.lifetime.as_secs_f64();
    let row = query_one(
        client,
        sql,
        &[&actor, &claim.upload_id, &claim.project_id, &size, &sha256, &lifetime, &claim.parts],
    )
    .await?;
    let room: Option<i64> = row.try_get(1)?;
    Ok(Admitted { project_id: row.try_get(0)?, room: room.map(i64::unsigned_abs) })
}

/// Notes how much has arrived of an upload whose size is not known.
pub(crate) async fn count(client: &impl GenericClient, upload_id: Uuid, size: u64) -> Result<(), ApiError> {
    query(
        client,
        "SELECT nebula.count_upload(nebula.actor($1), $2, $3)",
        &[client.gateway(), &upload_id, &bytes(size)],
    )
    .await
    .map(drop)
}

/// Uploads whose bytes are deleted count no longer.
pub(crate) async fn end(client: &impl GenericClient, upload_ids: &[Uuid]) -> Result<(), ApiError> {
    query(client, "SELECT nebula.end_uploads(nebula.actor($1), $2)", &[client.gateway(), &upload_ids])
        .await
        .map(drop)
}

/// Forgets uploads that were given up.
pub(crate) async fn end_expired(client: &impl GenericClient) -> Result<(), ApiError> {
    query(client, "SELECT nebula.end_expired_uploads(nebula.actor($1))", &[client.gateway()]).await.map(drop)
}
