//! Where claims of a kind start to scan the index of waiting jobs.

use nebula_core::queue_state::QueueState;
use nebula_core::scan_hint::{QueuePosition, ScanStart};
use nebula_core::timers::DueTimers;

use super::pending::first_enqueued;
use super::timers::{arm, take_due_timers};
use super::{shared, slot_of};
use crate::pg::session::{clock, database};

/// Where a claim of this kind starts. Must be called before the claim takes its snapshot: a job that becomes
/// available in between is then taken into account by the next claim.
pub(crate) fn begin_claim(kind: &str) -> Option<ScanStart> {
    let slot = slot_of(kind)?;
    let now = clock();
    shared::with(|state| begin(state, slot, now)).flatten()
}

/// The same, and the timers that are due, with one lock of the shared memory, which all sessions compete for.
pub(crate) fn begin_claim_with_timers(kind: &str) -> (DueTimers, Option<ScanStart>) {
    let Some(slot) = slot_of(kind) else { return (take_due_timers(), None) };
    let (database, now) = (database(), clock());
    let (due, start) = shared::with(|state| {
        let due = state.timers(database).map(|timers| timers.take_due(now));
        (due, begin(state, slot, now))
    })
    .unwrap_or_default();
    (due.unwrap_or_else(take_due_timers), start)
}

fn begin(state: &mut QueueState, slot: usize, now: i64) -> Option<ScanStart> {
    let mut start = state.hint(slot)?.begin(now);
    // Jobs that this transaction enqueued are visible to it alone, so they count only here.
    if let Some(own) = first_enqueued(slot) {
        start.position = start.position.min(own);
    }
    Some(start)
}

/// Records the result of a claim that started at `start`: no job before `reached` is available; `skip_points`
/// are positions of jobs behind those it claimed. The first lease of the claimed jobs ends at `lease`.
pub(crate) fn end_claim(
    kind: &str,
    start: ScanStart,
    reached: QueuePosition,
    skip_points: &[QueuePosition],
    lease: Option<i64>,
) {
    let (database, now) = (database(), clock());
    let Some(slot) = slot_of(kind) else { return };
    let earlier = shared::with(|state| {
        if let Some(hint) = state.hint(slot) {
            hint.advance(start, reached, now);
            if !skip_points.is_empty() {
                hint.set_skip_points(skip_points);
            }
        }
        lease.zip(state.timers(database)).map(|(at, timers)| timers.lease.arm(at))
    });
    match earlier.flatten() {
        Some(true) => shared::wake(),
        Some(false) => {}
        None => lease.into_iter().for_each(arm_lease),
    }
}

/// Sets the timer for the end of a lease.
pub(crate) fn arm_lease(at: i64) {
    arm(|timers| &mut timers.lease, at);
}

/// Makes the next claim of this kind scan from the first job on.
pub(crate) fn forget_scan_hint(kind: &str) {
    let now = clock();
    if let Some(slot) = slot_of(kind) {
        shared::with(|state| state.hint(slot).map(|hint| hint.note_available(QueuePosition::FIRST, now)));
    }
}
