//! The parts of the index on claimable jobs that one claim scans.

use crate::scan_hint::QueuePosition;

/// A part of the index on claimable jobs of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRange {
    /// Its first position.
    pub from: QueuePosition,
    /// Where it ends.
    pub end: End,
}

/// Where a part of the index ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the kind.
    Open,
    /// With the rank, at this `run_at`.
    RunAt(i64),
    /// With the rank and `run_at`, at this `job_id`.
    Job(i64),
}

impl ScanRange {
    /// All from a position on; the parts before two skip points come first, because a scan with an end
    /// compares fewer entries of the index.
    pub fn split(from: QueuePosition, skip_points: Option<(QueuePosition, QueuePosition)>) -> Vec<Self> {
        let mut ranges = Vec::with_capacity(3);
        if let Some((first, last)) = skip_points
            && let Some(range) = Self::between(from, first)
        {
            ranges.push(range);
            ranges.extend((first < last).then(|| Self::between(first.next(), last)).flatten());
        }
        ranges.push(Self { from, end: End::Open });
        ranges
    }

    /// `None` when the ranks differ: a scan with an end cannot cross from one rank to the next.
    fn between(from: QueuePosition, to: QueuePosition) -> Option<Self> {
        let end = if from.run_at == to.run_at { End::Job(to.job) } else { End::RunAt(to.run_at) };
        (from.rank == to.rank).then_some(Self { from, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(from: i32, first: i32, last: i32) -> usize {
        let position = |rank, job| QueuePosition { rank, run_at: 0, job };
        ScanRange::split(position(from, 1), Some((position(first, 2), position(last, 3)))).len()
    }

    #[test]
    fn skip_points_of_a_lower_priority_are_not_scanned_to_before_a_higher_one_is_done() {
        assert_eq!(ranges(0, 0, 0), 3);
        assert_eq!(ranges(0, 0, 1), 2, "up to the first skip point, then all");
        assert_eq!(ranges(0, 1, 1), 1, "all at once");
    }
}
