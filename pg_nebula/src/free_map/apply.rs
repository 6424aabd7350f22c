//! Applies the changes of a transaction to the map before it commits and when it ends. Nothing here may fail
//! after the commit: the transaction is over.

use nebula_core::map_changes;
use nebula_core::pending_addresses::{Change, ChangeKind};

use super::{cursor, shared, usage_signal};
use crate::pg::session::database;

/// The commit is about to begin.
pub(super) fn before_commit(changes: &[Change]) {
    shared::read(|map| map_changes::before_commit(map, database(), changes));
}

/// Commit: inserted addresses are held, released ones are free.
pub(super) fn committed(changes: &[Change]) {
    if shared::read(|map| map_changes::committed(map, database(), changes)).is_some() {
        if changes.iter().any(|change| change.kind == ChangeKind::UsageCheck) {
            usage_signal::wake_watcher();
        }
        return;
    }
    for change in changes {
        match change.kind {
            ChangeKind::Released | ChangeKind::Quarantined(_) => cursor::lower(change.pool, change.number),
            ChangeKind::Invalidated => cursor::reset_all(),
            ChangeKind::Claimed | ChangeKind::Inserted | ChangeKind::UsageCheck => {}
        }
    }
}

/// Rollback: claimed and inserted addresses are free again.
pub(super) fn rolled_back(changes: &[Change]) {
    if shared::read(|map| map_changes::rolled_back(map, database(), changes)).is_some() {
        return;
    }
    for change in changes {
        match change.kind {
            ChangeKind::Claimed => cursor::lower(change.pool, change.number),
            ChangeKind::Invalidated => cursor::reset_all(),
            ChangeKind::Inserted
            | ChangeKind::Released
            | ChangeKind::Quarantined(_)
            | ChangeKind::UsageCheck => {}
        }
    }
}

/// `PREPARE TRANSACTION`: another session ends the transaction.
pub(super) fn prepared(changes: &[Change], transaction: u32) {
    shared::write(|map| map_changes::prepared(map, database(), changes, transaction));
}
