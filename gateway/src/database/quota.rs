//! Quotas: what projects and accounts may store, and whether an upload fits.

use std::net::IpAddr;

use nebula_api::quota::Quota;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// The projects that the account sees and the account itself; for administrators, all accounts.
pub(crate) async fn list(client: &impl GenericClient, actor: &Account) -> Result<Vec<Quota>, ApiError> {
    map_rows(&query(client, "SELECT * FROM nebula.list_quotas(nebula.actor($1))", &[&actor]).await?, |row| {
        Ok(Quota {
            subject: row.try_get("subject")?,
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            used_bytes: row.try_get("used_bytes")?,
            max_bytes: row.try_get("max_bytes")?,
        })
    })
}

/// Sets or removes the quota of a `project` or an `account`. Fails with 403 unless the caller is an administrator,
/// 404, 400.
pub(crate) async fn set(
    client: &impl GenericClient,
    actor: &Account,
    subject: &str,
    id: Uuid,
    max_bytes: Option<i64>,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.set_quota_for(nebula.actor($1), $2, $3, $4, $5)";
    query(client, sql, &[&actor, &subject, &id, &max_bytes, &address]).await.map(drop)
}

/// Bytes that quotas leave to an upload; `None`: any number. Fails with 507 or 413 if it does not fit, and as
/// [`super::file::named`].
pub(crate) async fn room(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    size: Option<u64>,
    sha256: Option<[u8; 32]>,
) -> Result<Option<u64>, ApiError> {
    let size = size.map(|size| i64::try_from(size).unwrap_or(i64::MAX / 2));
    let sha256 = sha256.as_ref().map(|sha256| &sha256[..]);
    let sql = "SELECT nebula.upload_room(nebula.actor($1), $2, $3, $4)";
    let row = query_one(client, sql, &[&actor, &project_id, &size, &sha256]).await?;
    Ok(row.try_get::<_, Option<i64>>(0)?.map(i64::unsigned_abs))
}
