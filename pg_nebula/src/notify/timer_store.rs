//! Where the timers of this database are: in shared memory, or without preload in this session.

use std::cell::Cell;

use nebula_core::timers::Timers;

use super::shared;
use crate::pg::session::database;

thread_local! {
    /// The timers of a session without shared memory.
    static LOCAL: Cell<Timers> = const { Cell::new(Timers::UNKNOWN) };
}

/// Reads or sets timers.
pub(super) fn with_timers<T>(act: impl Fn(&mut Timers) -> T) -> T {
    let database = database();
    let shared = shared::with(|state| state.timers(database).map(&act)).flatten();
    shared.unwrap_or_else(|| {
        let mut timers = LOCAL.get();
        let result = act(&mut timers);
        LOCAL.set(timers);
        result
    })
}

/// Forgets the timers of a session without shared memory, after a rollback of the transaction that set them.
pub(super) fn forget_local() {
    LOCAL.set(Timers::UNKNOWN);
}
