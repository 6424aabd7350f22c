//! Where a waiting job stands, and telling those whom that concerns.

use super::row::column;
use crate::direct::FoundRow;
use crate::notify;
use crate::notify::timers;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::statement::Row;
use nebula_core::scan_hint::QueuePosition;

/// The columns of nebula.job_waiting that [`Place::read`] reads, from the first on.
macro_rules! place {
    () => {
        "kind, -priority, run_at, job_id, ready, blocked_by, node_id IS NOT NULL OR capability IS NOT NULL"
    };
}
pub(super) use place;

/// The columns that a job keeps whichever table it is in.
macro_rules! kept {
    () => {
        "job_id, kind, payload, project_id, priority, run_at, attempt, max_attempts, on_dead, node_id, capability, \
         unique_key, enqueued_at"
    };
}
pub(super) use kept;

/// The segment of the history that takes what finishes now.
macro_rules! segment {
    () => {
        "(SELECT s.last_value FROM nebula.job_segment_seq s)"
    };
}
pub(super) use segment;

/// A waiting job, as far as claims care.
pub(super) struct Place {
    pub(super) kind: String,
    pub(super) key: QueuePosition,
    /// It can be claimed.
    pub(super) ready: bool,
    /// Jobs it waits for.
    pub(super) blocked_by: i32,
    /// Not everybody can claim it.
    pub(super) pinned: bool,
}

impl Place {
    /// Reads the columns that `place!()` names.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Self::read_from(row, 1)
    }

    /// Reads them from column `first` on.
    pub(super) fn read_from(row: &Row<'_>, first: usize) -> Result<Self> {
        let run_at: Timestamp = row.need(first + 2)?;
        Ok(Self {
            kind: row.need(first)?,
            key: QueuePosition { rank: row.need(first + 1)?, run_at: run_at.0, job: row.need(first + 3)? },
            ready: row.need(first + 4)?,
            blocked_by: row.need(first + 5)?,
            pinned: row.need(first + 6)?,
        })
    }

    /// Where a running job stands when it is put back to where it was.
    pub(super) fn of(row: &FoundRow<'_>) -> Option<Self> {
        let run_at: Timestamp = row.read(column::RUN_AT)?;
        let rank = row.read::<i32>(column::PRIORITY)?.checked_neg()?;
        Some(Self {
            kind: row.read(column::KIND)?,
            key: QueuePosition { rank, run_at: run_at.0, job: row.read(column::JOB)? },
            ready: true,
            blocked_by: 0,
            pinned: row.get(column::NODE).is_some() || row.get(column::CAPABILITY).is_some(),
        })
    }

    /// Its place among those that everybody can claim; only these have a known beginning.
    pub(super) fn in_line(&self) -> Option<QueuePosition> {
        (self.ready && !self.pinned).then_some(self.key)
    }

    /// This transaction holds its lock for a while, so that claims pass it by meanwhile.
    pub(super) fn hold(&self) {
        if let Some(key) = self.in_line() {
            notify::note_hidden(&self.kind, key, true);
        }
    }

    /// It has come to stand here: workers are woken now, or when it is due.
    pub(super) fn announce(&self) -> Result<()> {
        if self.ready {
            notify::job_available(&self.kind, self.in_line())
        } else {
            if self.blocked_by == 0 {
                timers::arm_due(self.key.run_at);
            }
            Ok(())
        }
    }
}
