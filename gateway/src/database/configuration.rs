//! Options of projects, groups of devices.

use deadpool_postgres::GenericClient;
use nebula_api::configuration::Options;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::one;
use crate::ApiError;

/// The options of a project.
///
/// # Errors
/// 404 no such project, 403 not a member.
pub async fn options(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Uuid,
) -> Result<Options, ApiError> {
    let Json(options) =
        one(client, "SELECT nebula.project_options($1, $2)", &[&actor, &project_id]).await?.try_get(0)?;
    Ok(options)
}

/// Changes options; answers all of them.
///
/// # Errors
/// 403 not an administrator, 404 no such project, 400 a value that cannot be.
pub async fn set_options(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Uuid,
    changes: &Options,
) -> Result<Options, ApiError> {
    let sql = "SELECT nebula.set_project_options($1, $2, $3)";
    let Json(options) = one(client, sql, &[&actor, &project_id, &Json(changes)]).await?.try_get(0)?;
    Ok(options)
}

/// Puts a device in groups.
///
/// # Errors
/// 403 not an administrator, 404 no such device.
pub async fn set_groups(
    client: &impl GenericClient,
    actor: Uuid,
    device_id: Uuid,
    groups: &[String],
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.set_device_groups_for($1, $2, $3)";
    one(client, sql, &[&actor, &device_id, &groups]).await.map(drop)
}
