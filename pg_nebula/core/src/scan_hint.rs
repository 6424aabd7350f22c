//! Where claims of one kind of job begin to scan the index of waiting jobs.
//!
//! Jobs that were claimed stay in the index as dead entries while some transaction holds an older snapshot,
//! and each claim would walk past all of them. So a claim records how far it got, and the next one begins
//! there. A job that becomes available before that position, by a commit or by the rollback of a claim, moves
//! the start back. Now and then a claim scans from the very start, to find what was changed without our
//! functions.
//!
//! A claim may run for long, and does not see jobs that become available meanwhile. So it must not move the
//! start past those; which ones came when is recorded in windows of time. Times are PostgreSQL's
//! microseconds.

/// Position of a job in the order of claims: `(-priority, run_at, job_id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePosition {
    /// The negated priority, so that all columns ascend.
    pub rank: i32,
    /// When the job becomes due.
    pub run_at: i64,
    /// `nebula.job.job_id`.
    pub job: i64,
}

impl QueuePosition {
    /// Before all jobs.
    pub const FIRST: Self = Self { rank: i32::MIN, run_at: i64::MIN, job: i64::MIN };
    /// After all jobs.
    pub const LAST: Self = Self { rank: i32::MAX, run_at: i64::MAX, job: i64::MAX };

    /// The position right after this one: no other job has the same identifier.
    pub fn next(self) -> Self {
        Self { job: self.job.saturating_add(1), ..self }
    }
}

/// Skip points kept for a kind.
pub const SKIP_POINTS: usize = 12;

/// Least length of a window, in microseconds.
const WINDOW_LENGTH: i64 = 200_000;
/// Windows kept. A claim that began before the oldest one does not move the start.
const WINDOWS: usize = 8;
/// Least time between two full scans, in microseconds.
const FULL_SCAN_INTERVAL: i64 = 1_000_000;
/// The next full scan waits at least this many times as long as the last one took.
const FULL_SCAN_PAUSE_FACTOR: i64 = 20;

/// Where one claim begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanStart {
    /// No available job is known before this position.
    pub position: QueuePosition,
    /// The next skip point and the last one. Between the start and the first lie few jobs, so a claim of few
    /// need not read further.
    pub skip_points: Option<(QueuePosition, QueuePosition)>,
    /// When the claim began, before it took its snapshot.
    began: i64,
    full_scan: bool,
}

impl ScanStart {
    /// Whether the claim scans from the very start, whatever is known.
    pub fn is_full_scan(self) -> bool {
        self.full_scan
    }
}

/// The lowest position that became available within some time.
#[derive(Clone, Copy, Debug)]
struct Window {
    began: i64,
    lowest: QueuePosition,
}

impl Window {
    fn empty(began: i64) -> Self {
        Self { began, lowest: QueuePosition::LAST }
    }
}

/// The hint of one kind, in shared memory.
#[derive(Clone, Copy, Debug)]
pub struct ScanHint {
    start: QueuePosition,
    /// In ascending order. Unused ones come first, as `QueuePosition::FIRST`.
    skip_points: [QueuePosition; SKIP_POINTS],
    next_full_scan: i64,
    /// Newest first.
    windows: [Window; WINDOWS],
}

impl ScanHint {
    /// A hint that knows nothing.
    pub fn new(now: i64) -> Self {
        Self {
            start: QueuePosition::FIRST,
            skip_points: [QueuePosition::FIRST; SKIP_POINTS],
            next_full_scan: 0,
            windows: [Window::empty(now); WINDOWS],
        }
    }

    /// Where a claim begins. The claim must take its snapshot after this call.
    pub fn begin(&mut self, now: i64) -> ScanStart {
        self.rotate_windows(now);
        let full_scan = now >= self.next_full_scan;
        if full_scan {
            // Until this one ends, other claims do not scan everything as well.
            self.next_full_scan = now + FULL_SCAN_INTERVAL;
        }
        let position = if full_scan { QueuePosition::FIRST } else { self.start };
        let next = self.skip_points.iter().find(|point| **point >= position).filter(|_| !full_scan);
        let skip_points = next.map(|next| (*next, self.skip_points[SKIP_POINTS - 1]));
        ScanStart { position, skip_points, began: now, full_scan }
    }

    /// Replaces the skip points by positions of jobs that a claim saw, in ascending order.
    pub fn set_skip_points(&mut self, points: &[QueuePosition]) {
        let unused = SKIP_POINTS - points.len().min(SKIP_POINTS);
        self.skip_points[..unused].fill(QueuePosition::FIRST);
        self.skip_points[unused..].copy_from_slice(&points[..SKIP_POINTS - unused]);
    }

    /// A claim that began at `start` found no available job before `reached`.
    pub fn advance(&mut self, start: ScanStart, reached: QueuePosition, now: i64) {
        if start.full_scan {
            let pause = (now - start.began) * FULL_SCAN_PAUSE_FACTOR;
            self.next_full_scan = now + pause.max(FULL_SCAN_INTERVAL);
        }
        // The claim may have missed jobs that became available since it began.
        let Some(last) = self.windows.iter().position(|window| window.began <= start.began) else { return };
        let lowest_missed = self.windows[..=last].iter().map(|window| window.lowest).min();
        let sure = reached.min(lowest_missed.unwrap_or(QueuePosition::FIRST));
        // A full scan may also move the start back: it found jobs that were made without our functions.
        if start.full_scan || sure > self.start {
            self.start = sure;
        }
    }

    /// A job with this position became available.
    pub fn note_available(&mut self, position: QueuePosition, now: i64) {
        self.rotate_windows(now);
        self.start = self.start.min(position);
        self.windows[0].lowest = self.windows[0].lowest.min(position);
    }

    /// Begins a new window if the newest one is old enough.
    fn rotate_windows(&mut self, now: i64) {
        if now - self.windows[0].began >= WINDOW_LENGTH {
            self.windows.rotate_right(1);
            self.windows[0] = Window::empty(now);
        }
    }
}

#[cfg(test)]
mod tests;
