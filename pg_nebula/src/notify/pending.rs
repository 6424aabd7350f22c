//! Notifications and scan hints of the current transaction, passed on to shared memory when it ends.

use std::cell::RefCell;

use nebula_core::pending_jobs::{PendingJobs, SubtransactionFrame};
use nebula_core::scan_hint::QueuePosition;

use super::{shared, timer_store};
use crate::pg::hooks::{self, TransactionListener};
use crate::pg::session::{clock, database};

thread_local! {
    static PENDING: RefCell<PendingJobs> = const { RefCell::new(PendingJobs::new()) };
}

/// Passes the pending notes on when the transaction or a subtransaction ends.
pub(crate) const LISTENER: TransactionListener = TransactionListener {
    before_commit: || {},
    committed: || {
        if let Some(frame) = finish() {
            let (database, now) = (database(), clock());
            wake_if(shared::with(|state| state.apply_commit(database, &frame, now)));
        }
    },
    aborted: || {
        if let Some(frame) = finish() {
            undo(&frame);
        }
    },
    prepared: |transaction| {
        if let Some(frame) = finish() {
            wake_if(shared::with(|state| state.apply_prepare(transaction, &frame)));
        }
    },
    subtransaction_committed: |subtransaction, parent| {
        PENDING.with_borrow_mut(|pending| {
            if !pending.is_empty() {
                pending.reparent(subtransaction, parent);
            }
        });
    },
    subtransaction_aborted: |subtransaction| {
        if let Some(frame) = PENDING.with_borrow_mut(|pending| pending.undo(subtransaction)) {
            undo(&frame);
        }
    },
};

/// The frame of the current subtransaction.
pub(super) fn with_frame<T>(act: impl FnOnce(&mut SubtransactionFrame) -> T) -> T {
    let subtransaction = hooks::current_subtransaction();
    PENDING.with_borrow_mut(|pending| act(pending.frame(subtransaction)))
}

/// The first job of a kind, by its slot, that this transaction enqueued: other sessions cannot claim it yet.
pub(super) fn first_enqueued(slot: usize) -> Option<QueuePosition> {
    PENDING.with_borrow(|pending| pending.first_enqueued(slot))
}

fn finish() -> Option<SubtransactionFrame> {
    PENDING.with_borrow_mut(PendingJobs::finish)
}

fn undo(frame: &SubtransactionFrame) {
    let (database, now) = (database(), clock());
    let needed = shared::with(|state| state.apply_abort(database, frame, now));
    if needed.is_none() && frame.rescheduled {
        timer_store::forget_local();
    }
    wake_if(needed);
}

fn wake_if(needed: Option<bool>) {
    if needed == Some(true) {
        shared::wake();
    }
}
