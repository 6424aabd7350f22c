//! Projects: listing.

use deadpool_postgres::GenericClient;
use nebula_api::project::Project;
use uuid::Uuid;

use super::{each, rows};
use crate::ApiError;

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
