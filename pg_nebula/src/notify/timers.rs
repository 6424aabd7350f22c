//! When the next lease ends, the next job becomes due and the next schedule runs, so that nobody looks too early.

use nebula_core::timers::{DueTimers, Timer, Timers};

use super::pending::with_frame;
use super::shared;
use super::timer_store::with_timers;
use crate::pg::session::clock;

/// Microseconds after which somebody looks even if no timer asks for it, with shared memory: rows made by hand set no
/// timer.
pub(super) const LOOK_INTERVAL: i64 = 5_000_000;
/// The same for a session without shared memory, which hears of no other session's timers.
const LOCAL_LOOK_INTERVAL: i64 = 1_000_000;

/// One of the timers of this database.
pub(crate) type Which = fn(&mut Timers) -> &mut Timer;

/// Whether it is time to look for what this timer stands for.
pub(super) fn is_due(which: Which) -> bool {
    let now = clock();
    with_timers(|timers| which(timers).is_due(now))
}

/// All timers that are due, in one access to shared memory. The caller then looks; others leave that to it for a while.
pub(crate) fn take_due_timers() -> DueTimers {
    let now = clock();
    with_timers(|timers| timers.take_due(now))
}

/// Sets a timer to this time, in PostgreSQL's microseconds, if that is earlier; also if this transaction rolls back.
pub(crate) fn arm(which: Which, at: i64) {
    if with_timers(|timers| which(timers).arm(at)) {
        shared::wake();
    }
}

/// A waiting job becomes due at this time if this transaction commits.
pub(crate) fn arm_due(at: i64) {
    with_frame(|frame| frame.add_due(at));
    arm(|timers| &mut timers.job, at);
}

/// Sets a timer to the next time after the due rows were handled; a rollback makes it unknown again.
pub(crate) fn reschedule(which: Which, next: Option<i64>) {
    with_frame(|frame| frame.rescheduled = true);
    let now = clock();
    let interval = if shared::present() { LOOK_INTERVAL } else { LOCAL_LOOK_INTERVAL };
    with_timers(|timers| which(timers).reschedule(next, now, interval));
}
