//! Rotations of authorities.

use std::net::IpAddr;

use nebula_api::authority::Rotation;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// Rotations, running ones first, at most 100.
/// Fails with 403 not an administrator.
pub(crate) async fn list(client: &impl GenericClient, actor: &Account) -> Result<Vec<Rotation>, ApiError> {
    map_rows(
        &query(client, "SELECT * FROM nebula.list_rotations(nebula.actor($1))", &[&actor]).await?,
        |row| {
            Ok(Rotation {
                project_id: row.try_get("project_id")?,
                project: row.try_get("project")?,
                retiring: row.try_get("retiring")?,
                incoming: row.try_get("incoming")?,
                incoming_fingerprint: row.try_get("incoming_fingerprint")?,
                state: row.try_get("state")?,
                started_by: row.try_get("started_by")?,
                started_at: row.try_get("started_at")?,
                changed_at: row.try_get("changed_at")?,
                waits_for: row.try_get("waits_for")?,
                missing: row.try_get("missing")?,
            })
        },
    )
}

/// Begins a rotation; answers its state. Fails with 403 not an administrator, 404 no such project or
/// authority, 409 another runs, 400 another curve.
pub(crate) async fn begin(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    incoming: &[u8],
    address: Option<IpAddr>,
) -> Result<String, ApiError> {
    let sql = "SELECT nebula.begin_rotation(nebula.actor($1), $2, $3, $4)";
    Ok(query_one(client, sql, &[&actor, &project_id, &incoming, &address]).await?.try_get(0)?)
}

/// A change of a running rotation.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RotationChange {
    /// Moves it to the next state without waiting for missing members.
    Force,
    /// Ends it, or turns it round if the new authority signs already.
    Cancel,
}

/// Changes the running rotation; answers its state.
/// Fails with 403 not an administrator, 409 none runs, or the former authority has expired.
pub(crate) async fn change(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    change: RotationChange,
    address: Option<IpAddr>,
) -> Result<String, ApiError> {
    let sql = match change {
        RotationChange::Force => "SELECT nebula.force_rotation(nebula.actor($1), $2, $3)",
        RotationChange::Cancel => "SELECT nebula.cancel_rotation(nebula.actor($1), $2, $3)",
    };
    Ok(query_one(client, sql, &[&actor, &project_id, &address]).await?.try_get(0)?)
}
