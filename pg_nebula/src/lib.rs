//! The control plane of a private overlay network, inside PostgreSQL.
//!
//! Address pools with atomic allocation, nodes, and a job queue, as SQL functions in schema `nebula`. Plain data lives
//! in `sql/`; this crate holds what needs more than a statement. Modules, from the ground up; each imports only modules
//! below it, and what needs no PostgreSQL is the crate `nebula-core`:
//!
//! | module | holds |
//! |---|---|
//! | `pg` | the server: session, callbacks, catalog, statements, shared memory, settings, types |
//! | `direct` | rows written below SQL |
//! | `pools` | projects and their ranges |
//! | `free_map` | where to look for a free address |
//! | `addresses` | who holds which address |
//! | `nodes` | servers and the choice among them |
//! | `background` | processes that work without being called |
//! | `notify` | telling workers and watchers about jobs |
//! | `queue` | jobs |

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
mod queue;

#[cfg(feature = "pg_test")]
mod tests;

use addresses::linked_table;
use pg::catalog::{self, Change};
use pg::hooks::{self, Listeners};
use pg::{settings, shmem};

pg_module_magic!(name, version);

/// Called when the library is loaded: by the server as it starts, or by the first session that needs it.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    let preloaded = shmem::is_preloading();
    settings::define(preloaded);
    hooks::listen(Listeners {
        transaction: &[free_map::TRANSACTION_LISTENER, notify::TRANSACTION_LISTENER],
        relation_changed,
    });
    if preloaded {
        shmem::request(&[free_map::REGION, notify::REGION]);
        background::launcher::register();
    }
}

/// Forgets what this session has read of a relation that some session changed.
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

/// What `cargo pgrx test` needs to know.
#[cfg(test)]
pub mod pg_test {
    /// Called once, before the server starts.
    pub fn setup(_options: Vec<&str>) {}

    /// Settings of the test server.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        match std::env::var("PG_NEBULA_PRELOAD").as_deref() {
            Ok("off") => vec![],
            _ => vec![
                "shared_preload_libraries='pg_nebula'",
                "max_prepared_transactions=10",
                "nebula.map_memory='1MB'",
            ],
        }
    }
}
