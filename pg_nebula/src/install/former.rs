//! Entry points of functions that were in this library in an earlier release and are gone, renamed or SQL now.
//!
//! A database declares them until ALTER EXTENSION pg_nebula UPDATE, and CREATE EXTENSION of an earlier version needs them
//! to exist. Calls are refused, like all calls while library and tables are of different versions.

use pgrx::prelude::*;

use crate::pg::catalog::require_own_version;
use crate::pg::error::sql;

#[pg_extern(sql = false)]
fn create_project() -> sql::Result<()> {
    Ok(require_own_version()?)
}

#[pg_extern(sql = false)]
fn register_node() -> sql::Result<()> {
    Ok(require_own_version()?)
}

#[pg_extern(sql = false)]
fn select_node() -> sql::Result<()> {
    Ok(require_own_version()?)
}

#[pg_extern(sql = false)]
fn announce_jobs() -> sql::Result<()> {
    Ok(require_own_version()?)
}

#[pg_extern(sql = false)]
fn expect_tick() -> sql::Result<()> {
    Ok(require_own_version()?)
}

#[pg_extern(sql = false)]
fn show_addresses() -> sql::Result<()> {
    Ok(require_own_version()?)
}
