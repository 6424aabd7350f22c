//! The control plane of a private overlay network, inside PostgreSQL.
//!
//! Address pools with atomic allocation, nodes, and a job queue, as SQL functions in schema `nebula`. Tables
//! and plain SQL functions are in `sql/`; this crate has the functions that need more than a statement; code
//! that needs no PostgreSQL is in the crate `nebula-core`. Layers, each of which imports only those below it
//! (`tests/run/circles.py` reads the order here):
//!
//! | layer | content |
//! |---|---|
//! | `queue` | jobs |
//! | `nodes` | servers, and the placement of peers on them |
//! | `notify` | NOTIFY for workers and watchers of jobs, collected over sessions |
//! | `background` | background workers |
//! | `addresses` | allocation and release of addresses |
//! | `free_map` | search for free addresses, by a map in shared memory |
//! | `pools` | projects and their ranges of addresses |
//! | `proof` | tokens by which a call proves for whom it is |
//! | `direct` | reading and writing rows without planner and executor |
//! | `pg` | interfaces of the server: session, callbacks, catalog, statements, shared memory, types |

#![expect(clippy::result_large_err, reason = "pgrx takes the SQLSTATE only from an ErrorReport by value")]

use pgrx::prelude::*;

mod addresses;
mod background;
mod direct;
mod free_map;
mod install;
mod nodes;
mod notify;
mod pg;
mod pools;
mod proof;
mod queue;

#[cfg(feature = "pg_test")]
mod tests;

use addresses::linked_table;
use pg::catalog::{self, Change};
use pg::hooks::{self, Listeners};
use pg::{settings, shmem};

pg_module_magic!(name, version);

/// Called when the library is loaded: by the postmaster at start, or by a session at its first call.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    #[cfg(feature = "pg_test")]
    pg::leak_check::install();
    let preloaded = shmem::is_preloading();
    settings::define(preloaded);
    hooks::listen(Listeners {
        transaction: &[
            free_map::TRANSACTION_LISTENER,
            notify::TRANSACTION_LISTENER,
            proof::TRANSACTION_LISTENER,
        ],
        relation_changed,
    });
    if preloaded {
        shmem::request(&[free_map::REGION, notify::REGION]);
        background::launcher::register();
    }
}

/// Drops what this session has cached of a relation that some session has changed.
fn relation_changed(relation: pg_sys::Oid) {
    direct::forget(relation);
    linked_table::invalidate_table(relation);
    match catalog::change_of(relation) {
        Change::Pools => {
            pools::cache::invalidate();
            linked_table::invalidate();
            free_map::reset_cursors();
        }
        Change::Released => free_map::addresses_released(),
        Change::Other => {}
    }
}

/// Configuration of `cargo pgrx test`.
#[cfg(test)]
pub mod pg_test {
    /// Called once, before the server starts.
    pub fn setup(_options: Vec<&str>) {}

    /// Settings of the test server. Environment variables switch parts of the extension off, so that all tests run without
    /// them too: `PG_NEBULA_PRELOAD=off` shared memory and background processes, `PG_NEBULA_DIRECT=off` direct writes.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        let is_off = |name: &str| std::env::var(name).as_deref() == Ok("off");
        let mut options = Vec::new();
        if !is_off("PG_NEBULA_PRELOAD") {
            options.extend([
                "shared_preload_libraries='pg_nebula'",
                "max_prepared_transactions=10",
                "nebula.map_memory='1MB'",
            ]);
        }
        if is_off("PG_NEBULA_DIRECT") {
            options.push("nebula.direct_writes=off");
        }
        options
    }
}
