//! Where the claimable jobs of a kind begin. Pure.
//!
//! While some transaction holds an old snapshot, jobs that were claimed since stay in the index as dead entries, and each
//! claim would walk past all of them. So a claim notes how far it got and the next one begins there. Whatever appears
//! further ahead, an enqueue that commits or a claim that is rolled back, takes the note back; and now and then a claim
//! begins at the very start, so that what no function of ours did is found as well.

/// Place in the order of claims: negated priority, time due in PostgreSQL's microseconds, identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePosition {
    /// Negated, so that all columns ascend.
    pub rank: i32,
    /// PostgreSQL's microseconds.
    pub run_at: i64,
    /// Identifier.
    pub job: i64,
}

impl QueuePosition {
    /// Before all jobs.
    pub const FIRST: Self = Self { rank: i32::MIN, run_at: i64::MIN, job: i64::MIN };
    /// After all jobs.
    pub const LAST: Self = Self { rank: i32::MAX, run_at: i64::MAX, job: i64::MAX };

    /// The first place after this one: no two jobs have the same number.
    pub fn next(self) -> Self {
        Self { job: self.job.saturating_add(1), ..self }
    }
}

/// Most places that are known ahead.
pub const SKIP_POINTS: usize = 12;

/// Where a claim begins, and since when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanStart {
    /// Nothing that can be claimed is known to lie before this.
    pub position: QueuePosition,
    /// A few jobs lie between that and the first place, some more between the two: a hint that spares those who want few
    /// from reading on.
    pub skip_points: Option<(QueuePosition, QueuePosition)>,
    /// Before its snapshot, in microseconds.
    since: i64,
    /// It begins at the very start, to be on the safe side.
    full_scan: bool,
}

impl ScanStart {
    /// Whether it begins at the very start although more was believed to be known.
    pub fn is_full_scan(self) -> bool {
        self.full_scan
    }
}

/// Lowest position that appeared within some time.
#[derive(Clone, Copy, Debug)]
struct Window {
    began: i64,
    lowest: QueuePosition,
}

/// Least time a window lasts, in microseconds.
const WINDOW: i64 = 200_000;
/// Windows kept: a claim that takes longer than all of them leaves no note.
const WINDOWS: usize = 8;
/// Least time between two sweeps, in microseconds.
const FULL_SCAN_INTERVAL: i64 = 1_000_000;
/// Sweeps take at most one part in so many of the time.
const FULL_SCAN_SHARE: i64 = 20;

/// The note on one kind.
#[derive(Clone, Copy, Debug)]
pub struct ScanHint {
    start: QueuePosition,
    /// In order; what is left of it is before all jobs, or has been reached.
    ahead: [QueuePosition; SKIP_POINTS],
    next_full_scan: i64,
    /// Newest first.
    windows: [Window; WINDOWS],
}

impl ScanHint {
    /// Nothing is known.
    pub fn new(now: i64) -> Self {
        let window = Window { began: now, lowest: QueuePosition::LAST };
        Self {
            start: QueuePosition::FIRST,
            ahead: [QueuePosition::FIRST; SKIP_POINTS],
            next_full_scan: 0,
            windows: [window; WINDOWS],
        }
    }

    /// Where a claim that takes its snapshot after this begins.
    pub fn begin(&mut self, now: i64) -> ScanStart {
        self.turn(now);
        let full_scan = now >= self.next_full_scan;
        if full_scan {
            self.next_full_scan = now + FULL_SCAN_INTERVAL;
        }
        let position = if full_scan { QueuePosition::FIRST } else { self.start };
        let first = self.ahead.iter().find(|place| **place >= position);
        let ahead = first.filter(|_| !full_scan).map(|first| (*first, self.ahead[SKIP_POINTS - 1]));
        ScanStart { position, skip_points: ahead, since: now, full_scan }
    }

    /// A claim saw jobs up to these places, in order.
    pub fn set_skip_points(&mut self, places: &[QueuePosition]) {
        let kept = SKIP_POINTS - places.len().min(SKIP_POINTS);
        self.ahead[..kept].fill(QueuePosition::FIRST);
        self.ahead[kept..].copy_from_slice(&places[..SKIP_POINTS - kept]);
    }

    /// A claim found nothing before `reached`.
    pub fn advance(&mut self, start: ScanStart, reached: QueuePosition, now: i64) {
        if start.full_scan {
            self.next_full_scan = now + FULL_SCAN_INTERVAL.max((now - start.since) * FULL_SCAN_SHARE);
        }
        // What appeared since it began it may not have seen.
        let Some(last) = self.windows.iter().position(|window| window.began <= start.since) else { return };
        let unseen =
            self.windows[..=last].iter().map(|window| window.lowest).min().unwrap_or(QueuePosition::FIRST);
        let sure = reached.min(unseen);
        // A full_scan knows all there is, so it may go back, too.
        if start.full_scan || sure > self.start {
            self.start = sure;
        }
    }

    /// A job with this position can be claimed from now on.
    pub fn note_available(&mut self, position: QueuePosition, now: i64) {
        self.turn(now);
        self.start = self.start.min(position);
        self.windows[0].lowest = self.windows[0].lowest.min(position);
    }

    /// Begins a new window when it is time.
    fn turn(&mut self, now: i64) {
        if now - self.windows[0].began >= WINDOW {
            self.windows.rotate_right(1);
            self.windows[0] = Window { began: now, lowest: QueuePosition::LAST };
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn position(run_at: i64) -> QueuePosition {
        QueuePosition { rank: 0, run_at, job: run_at }
    }

    /// A hint past its first full_scan.
    fn swept() -> ScanHint {
        let mut hint = ScanHint::new(0);
        let start = hint.begin(0);
        hint.advance(start, position(10), 1);
        hint
    }

    #[test]
    fn a_claim_begins_where_the_last_one_got_to() {
        let mut hint = swept();
        let start = hint.begin(2);
        assert_eq!(start.position, position(10));
        hint.advance(start, position(20), 3);
        assert_eq!(hint.begin(4).position, position(20));
    }

    #[test]
    fn a_place_ahead_is_known_until_it_is_reached() {
        let mut hint = swept();
        assert_eq!(hint.begin(2).skip_points, None);
        hint.set_skip_points(&[position(15), position(25)]);
        let start = hint.begin(2);
        assert_eq!((start.position, start.skip_points), (position(10), Some((position(15), position(25)))));
        hint.advance(start, position(15).next(), 3);
        assert_eq!(hint.begin(4).skip_points, Some((position(25), position(25))));
        hint.advance(start, position(25).next(), 5);
        assert_eq!(hint.begin(6).skip_points, None);
        assert_eq!(hint.begin(FULL_SCAN_INTERVAL + 2).skip_points, None, "a full_scan sees all");
    }

    #[test]
    fn what_appears_further_ahead_is_found() {
        let mut hint = swept();
        hint.note_available(position(5), 2);
        assert_eq!(hint.begin(3).position, position(5));
    }

    #[test]
    fn what_appears_while_a_claim_looks_is_not_passed() {
        for later in [0, WINDOW, 5 * WINDOW, 100 * WINDOW] {
            let mut hint = swept();
            let start = hint.begin(2);
            hint.note_available(position(15), 3);
            for step in 1..=6 {
                hint.note_available(position(1000), 3 + later * step / 6);
            }
            hint.advance(start, position(30), 4 + later);
            assert!(hint.start <= position(15), "{later}: {:?}", hint.start);
        }
    }

    #[test]
    fn what_appeared_long_ago_does_not_hold_claims_back() {
        let mut hint = swept();
        hint.note_available(position(5), 2);
        let start = hint.begin(3);
        hint.advance(start, position(30), 4);
        assert_eq!(hint.start, position(5), "it may have appeared just now");
        let start = hint.begin(2 + WINDOW);
        hint.advance(start, position(30), 3 + WINDOW);
        assert_eq!(hint.start, position(30), "nothing has appeared since that claim began");
    }

    #[test]
    fn a_slower_claim_does_not_take_the_note_back() {
        let mut hint = swept();
        let (slow, quick) = (hint.begin(2), hint.begin(2));
        hint.advance(quick, position(40), 3);
        hint.advance(slow, position(30), 4);
        assert_eq!(hint.begin(5).position, position(40));
    }

    #[test]
    fn sweeps_come_and_take_a_small_part_of_the_time() {
        let mut hint = swept();
        assert_eq!(hint.begin(FULL_SCAN_INTERVAL).position, position(10));
        let full_scan = hint.begin(FULL_SCAN_INTERVAL + 1);
        assert_eq!(full_scan.position, QueuePosition::FIRST);
        assert_eq!(hint.begin(FULL_SCAN_INTERVAL + 2).position, position(10), "one sweeps, the others go on");
        hint.advance(full_scan, position(3), 2 * FULL_SCAN_INTERVAL + 1);
        assert_eq!(
            hint.begin(2 * FULL_SCAN_INTERVAL + 2).position,
            position(3),
            "what a full_scan found counts"
        );
        assert_eq!(hint.begin(21 * FULL_SCAN_INTERVAL).position, position(3));
        assert_eq!(hint.begin(22 * FULL_SCAN_INTERVAL + 1).position, QueuePosition::FIRST);
    }
}
