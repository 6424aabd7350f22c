//! Changes that this transaction has made to addresses; applied to the map when it ends.

use std::cell::RefCell;

use nebula_core::pending_addresses::{Change, ChangeKind, PendingAddresses};

use super::apply;
use crate::pg::hooks::{self, TransactionListener};

thread_local! {
    static PENDING: RefCell<PendingAddresses> = const { RefCell::new(PendingAddresses::new()) };
}

/// Applies the pending changes when the transaction or a subtransaction ends.
pub(crate) const LISTENER: TransactionListener = TransactionListener {
    before_commit: || {
        with_pending(|pending| {
            if !pending.is_empty() {
                apply::before_commit(pending.changes());
            }
        });
    },
    committed: || apply_all(apply::committed),
    aborted: || roll_back(0),
    prepared: |transaction| apply_all(|changes| apply::prepared(changes, transaction)),
    subtransaction_committed: |subtransaction, parent| {
        with_pending(|pending| {
            if !pending.is_empty() {
                pending.reparent(subtransaction, parent);
            }
        });
    },
    subtransaction_aborted: roll_back,
};

/// Rolls back a subtransaction, or with 0 the transaction.
fn roll_back(subtransaction: u32) {
    let undo = |pending: &mut PendingAddresses| (!pending.is_empty()).then(|| pending.undo(subtransaction));
    if let Some(changes) = with_pending(undo) {
        apply::rolled_back(&changes);
    }
}

fn apply_all(apply: impl FnOnce(&[Change])) {
    let changes = with_pending(PendingAddresses::finish);
    if !changes.is_empty() {
        apply(&changes);
    }
}

/// Records a change made by the current subtransaction.
pub(super) fn record(pool: i32, number: u128, kind: ChangeKind) {
    let subtransaction = hooks::current_subtransaction();
    with_pending(|pending| pending.push(Change { subtransaction, pool, number, kind }));
}

/// The pending changes of this transaction.
pub(super) fn with_pending<T>(use_it: impl FnOnce(&mut PendingAddresses) -> T) -> T {
    PENDING.with_borrow_mut(use_it)
}
