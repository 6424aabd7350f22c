//! ProjectOptions of projects, and groups of devices.

use nebula_api::project_options::ProjectOptions;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, query_one};
use crate::error::ApiError;

/// The options of a project.
/// Fails with 404 no such project, 403 not a member.
pub(crate) async fn options(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
) -> Result<ProjectOptions, ApiError> {
    let Json(options) =
        query_one(client, "SELECT nebula.project_options(nebula.actor($1), $2)", &[&actor, &project_id])
            .await?
            .try_get(0)?;
    Ok(options)
}

/// Changes options; answers all of them.
/// Fails with 403 not an administrator, 404 no such project, 400 a value that is not allowed.
pub(crate) async fn set_options(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    changes: &serde_json::Map<String, serde_json::Value>,
) -> Result<ProjectOptions, ApiError> {
    let sql = "SELECT nebula.set_project_options(nebula.actor($1), $2, $3)";
    let Json(options) = query_one(client, sql, &[&actor, &project_id, &Json(changes)]).await?.try_get(0)?;
    Ok(options)
}

/// Puts a device in groups.
/// Fails with 403 not an administrator, 404 no such device.
pub(crate) async fn set_groups(
    client: &impl GenericClient,
    actor: &Account,
    device_id: Uuid,
    groups: &[String],
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.set_device_groups_for(nebula.actor($1), $2, $3)";
    query_one(client, sql, &[&actor, &device_id, &groups]).await.map(drop)
}
