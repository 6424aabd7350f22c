//! The position of a waiting job in the order of claims, and the notifications that depend on it.

use nebula_core::scan_hint::QueuePosition;

use crate::notify;
use crate::notify::timers;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::statement::Row;

/// Where a waiting job stands in the order of claims, and whether it can be claimed.
pub(super) struct Position {
    pub(super) kind: String,
    pub(super) key: QueuePosition,
    /// It can be claimed now.
    pub(super) ready: bool,
    /// How many jobs it waits for.
    pub(super) blocked_by: i32,
    /// Only workers on a certain node or with a certain capability can claim it.
    pub(super) restricted: bool,
}

impl Position {
    /// Reads the columns of `position_columns!()`.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Self::read_from(row, 1)
    }

    /// Reads the columns of `position_columns!()`, which begin at column `first`.
    pub(super) fn read_from(row: &Row<'_>, first: usize) -> Result<Self> {
        let run_at: Timestamp = row.need(first + 2)?;
        Ok(Self {
            kind: row.need(first)?,
            key: QueuePosition { rank: row.need(first + 1)?, run_at: run_at.0, job: row.need(first + 3)? },
            ready: row.need(first + 4)?,
            blocked_by: row.need(first + 5)?,
            restricted: row.need(first + 6)?,
        })
    }

    /// The position among the jobs that any worker can claim; `None` when the job is not one of them. Scan
    /// hints cover only these jobs.
    fn open_position(&self) -> Option<QueuePosition> {
        (self.ready && !self.restricted).then_some(self.key)
    }

    /// Records that this transaction has locked the job: claims skip it until the transaction ends, so the
    /// scan hint must go back to it then.
    pub(super) fn note_locked(&self) {
        if let Some(key) = self.open_position() {
            notify::note_hidden(&self.kind, key, true);
        }
    }

    /// Notifies workers, when this transaction commits, that the job is available; sets the timer if it is
    /// due later.
    pub(super) fn notify_available(&self) -> Result<()> {
        if self.ready {
            notify::job_available(&self.kind, self.open_position())
        } else {
            if self.blocked_by == 0 {
                timers::arm_due(self.key.run_at);
            }
            Ok(())
        }
    }
}
