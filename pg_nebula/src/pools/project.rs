//! Projects: one isolated overlay network each.

use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::statement::Statement;

#[pg_extern(stable, security_definer)]
#[search_path(nebula, pg_temp)]
fn require_project(project_id: Option<Uuid>) -> sql::Result<()> {
    Ok(check_exists(required(project_id, "project_id")?)?)
}

/// Refuses a project that does not exist.
///
/// # Errors
/// [`Kind::Missing`].
pub(crate) fn check_exists(project: Uuid) -> Result<()> {
    static FIND: Statement = Statement::new("SELECT FROM nebula.project WHERE project_id = $1");
    if FIND.exists(&[project.into()])? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Missing,
        format!("there is no project {project}"),
        "List projects: nebulactl project ls, or SELECT project_id, name FROM nebula.project.",
    ))
}
