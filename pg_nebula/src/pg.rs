//! The server: the only room that reads its variables, registers its callbacks and asks its catalog.
//!
//! Everything above uses these modules and, for rows written below SQL, [`crate::direct`].

pub(crate) mod catalog;
pub(crate) mod datum;
pub(crate) mod error;
pub(crate) mod hooks;
pub(crate) mod isolation;
pub(crate) mod privilege;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod shmem;
pub(crate) mod statement;
