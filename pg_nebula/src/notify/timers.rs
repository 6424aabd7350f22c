//! When the next lease ends, the next job becomes due and the next schedule runs: no session queries for such
//! rows earlier.

use nebula_core::timers::{DueTimers, Timer, Timers};

use super::pending::with_frame;
use super::shared;
use super::timer_store::with_timers;
use crate::pg::session::clock;

/// Longest time between two queries in microseconds, with shared memory: rows that were written by hand set no
/// timer.
pub(super) const MAX_INTERVAL: i64 = 5_000_000;
/// The same without shared memory, where timers that other sessions set are not seen.
const LOCAL_MAX_INTERVAL: i64 = 1_000_000;

/// One of the timers of this database.
pub(crate) type Which = fn(&mut Timers) -> &mut Timer;

/// Whether a timer is due.
pub(super) fn is_due(which: Which) -> bool {
    let now = clock();
    with_timers(|timers| which(timers).is_due(now))
}

/// Takes all timers that are due. The caller must then do what is due; for a while no other session gets
/// these timers.
pub(crate) fn take_due_timers() -> DueTimers {
    let now = clock();
    with_timers(|timers| timers.take_due(now))
}

/// Sets a timer to this time, in PostgreSQL's microseconds, if that is earlier; a rollback leaves it so,
/// which is harmless.
pub(crate) fn arm(which: Which, at: i64) {
    if with_timers(|timers| which(timers).arm(at)) {
        shared::wake();
    }
}

/// Sets the timer for a waiting job, now and again when this transaction commits: until then its row is not
/// seen, so a query in between would set the timer to a later time.
pub(crate) fn arm_due(at: i64) {
    with_frame(|frame| frame.add_due(at));
    arm(|timers| &mut timers.job, at);
}

/// Sets a timer to the next time after the due rows were handled; a rollback makes that time unknown again.
pub(crate) fn reschedule(which: Which, next: Option<i64>) {
    with_frame(|frame| frame.rescheduled = true);
    let now = clock();
    let interval = if shared::present() { MAX_INTERVAL } else { LOCAL_MAX_INTERVAL };
    with_timers(|timers| which(timers).reschedule(next, now, interval));
}
