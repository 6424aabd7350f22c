//! Rotations of authorities.

use std::net::IpAddr;

use deadpool_postgres::GenericClient;
use nebula_api::authority::Rotation;
use uuid::Uuid;

use super::{each, one, rows};
use crate::ApiError;

/// Rotations, running ones first, at most 100.
///
/// # Errors
/// 403 not an administrator.
pub async fn list(client: &impl GenericClient, actor: Uuid) -> Result<Vec<Rotation>, ApiError> {
    each(&rows(client, "SELECT * FROM nebula.list_rotations($1)", &[&actor]).await?, |row| {
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
    })
}

/// Begins one; answers the state it is in.
///
/// # Errors
/// 403 not an administrator, 404 no such project or authority, 409 another runs, 400 another curve.
pub async fn begin(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Uuid,
    incoming: &[u8],
    address: Option<IpAddr>,
) -> Result<String, ApiError> {
    let sql = "SELECT nebula.begin_rotation($1, $2, $3, $4::text::inet)";
    let address = address.map(|address| address.to_string());
    Ok(one(client, sql, &[&actor, &project_id, &incoming, &address]).await?.try_get(0)?)
}

/// What an administrator may do to one that runs.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// Carries it a state further, whoever is missing.
    Force,
    /// Ends it while it distributes.
    Cancel,
}

/// Changes the one that runs; answers the state it is in.
///
/// # Errors
/// 403 not an administrator, 409 none runs, or it has come too far to be cancelled.
pub async fn change(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Uuid,
    change: Change,
    address: Option<IpAddr>,
) -> Result<String, ApiError> {
    let sql = match change {
        Change::Force => "SELECT nebula.force_rotation($1, $2, $3::text::inet)",
        Change::Cancel => "SELECT nebula.cancel_rotation($1, $2, $3::text::inet)",
    };
    let address = address.map(|address| address.to_string());
    Ok(one(client, sql, &[&actor, &project_id, &address]).await?.try_get(0)?)
}
