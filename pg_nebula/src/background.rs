//! Processes of the server that work without being called, present only with preload.

pub(crate) mod launcher;
mod maintenance;
pub(crate) mod worker;
