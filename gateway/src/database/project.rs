//! Projects: listing, and what their devices have in common.

use deadpool_postgres::GenericClient;
use nebula_api::project::Project;
use serde::Deserialize;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::authority::Trusted;
use super::{each, one, rows};
use crate::ApiError;
use crate::config::Common;

/// Projects the account sees, with counts, by name.
///
/// # Errors
/// Those of the database.
pub async fn list(client: &impl GenericClient, actor: Uuid) -> Result<Vec<Project>, ApiError> {
    each(&rows(client, "SELECT * FROM nebula.list_projects($1)", &[&actor]).await?, |row| {
        Ok(Project {
            project_id: row.try_get("project_id")?,
            name: row.try_get("name")?,
            cidr: row.try_get("cidr")?,
            created_at: row.try_get("created_at")?,
            devices: row.try_get("devices")?,
            files: row.try_get("files")?,
        })
    })
}

/// A project's part of what its devices run.
#[derive(Debug, Deserialize)]
pub struct Configuration {
    /// What stands in everybody's nebula.yml.
    #[serde(flatten)]
    pub common: Common,
    /// Whom devices trust, the one that signs first; none for a project that never had one.
    pub trust: Vec<Trusted>,
}

/// What the devices of a project have in common.
///
/// # Errors
/// 404 no such project.
pub async fn configuration(client: &impl GenericClient, project_id: Uuid) -> Result<Configuration, ApiError> {
    let row = one(client, "SELECT nebula.project_configuration($1)", &[&project_id]).await?;
    let Json(found) = row.try_get(0)?;
    Ok(found)
}
