//! The server's interfaces, wrapped: its variables, callbacks, catalog, shared memory, statements and types.
//!
//! Modules above call these, and [`crate::direct`] for rows, instead of the server.

pub(crate) mod advisory_lock;
pub(crate) mod background_worker;
pub(crate) mod catalog;
pub(crate) mod control_file;
pub(crate) mod datum;
pub(crate) mod disk;
pub(crate) mod error;
pub(crate) mod hooks;
pub(crate) mod isolation;
pub(crate) mod latch;
#[cfg(feature = "pg_test")]
pub(crate) mod leak_check;
pub(crate) mod limits;
pub(crate) mod privilege;
pub(crate) mod random;
pub(crate) mod row_set;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod shmem;
pub(crate) mod statement;
pub(crate) mod subtransaction;
pub(crate) mod trigger_row;
