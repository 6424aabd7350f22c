//! Projects: one isolated overlay network each.

use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::pg::datum::inet::checked_cidr;
use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::statement::Statement;

/// The form of project and pool names; CHECK constraints of the tables demand the same.
const NAME_HINT: &str =
    "Start with a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes.";

/// Creates a project and returns its identifier.
///
/// `cidr` is the whole overlay: every pool must lie inside it. NULL: pools may be anywhere.
/// Errors: 22023 malformed name or host bits set, 23505 name taken.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn create_project(name: Option<&str>, cidr: default!(Option<Inet>, "NULL")) -> sql::Result<Uuid> {
    static INSERT: Statement = Statement::new(
        "INSERT INTO nebula.project (name, cidr) VALUES ($1, $2::cidr)
         ON CONFLICT (name) DO NOTHING RETURNING project_id",
    );
    let name = required(name, "name")?;
    check_name("project", name)?;
    if let Some(cidr) = &cidr {
        checked_cidr(cidr)?;
    }
    let project = INSERT.query_opt(&[name.into(), cidr.into()], |row| row.need(1))?;
    Ok(project.ok_or_else(|| {
        Error::new(Kind::Exists, format!("a project named \"{name}\" exists already"), "Choose another name.")
    })?)
}

/// Refuses a project that does not exist. Errors: P0002 no such project.
#[pg_extern(stable, security_definer)]
#[search_path(nebula, pg_temp)]
fn require_project(project_id: Option<Uuid>) -> sql::Result<()> {
    Ok(check_exists(required(project_id, "project_id")?)?)
}

/// Refuses a malformed name of a project or pool.
///
/// # Errors
/// [`Kind::BadArgument`].
pub(crate) fn check_name(word: &str, name: &str) -> Result<()> {
    let mut letters = name.chars();
    let good = letters.next().is_some_and(char::is_alphanumeric)
        && letters.all(|c| c.is_alphanumeric() || " ._-".contains(c))
        && name.chars().count() <= 63;
    if good { Ok(()) } else { Err(Error::bad_argument(format!("\"{name}\" is no {word} name"), NAME_HINT)) }
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
        "List projects: SELECT project_id, name FROM nebula.project.",
    ))
}
