//! The cluster's control file.
#![expect(unsafe_code, reason = "the content of the file is a C structure")]

use pgrx::pg_sys;

/// State of a cluster that was shut down cleanly as a primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShutdownState {
    /// Identifier of the cluster.
    pub(crate) cluster: u64,
    /// Location of the shutdown checkpoint in the WAL.
    pub(crate) checkpoint: u64,
}

/// Reads the file; `None` when it is damaged, or in any other state. For use at the server's start and end.
pub(crate) fn shutdown_state() -> Option<ShutdownState> {
    let mut intact = false;
    // SAFETY: the server itself has read the file at its start; the returned structure is a copy.
    let control = unsafe { pg_sys::get_controlfile(pg_sys::DataDir, &mut intact).as_ref() }?;
    (intact && control.state == pg_sys::DBState::DB_SHUTDOWNED)
        .then_some(ShutdownState { cluster: control.system_identifier, checkpoint: control.checkPoint })
}
