//! Where the claimable jobs of a kind begin. Pure.
//!
//! While some transaction holds an old snapshot, jobs that were claimed since stay in the index as dead entries, and each
//! claim would walk past all of them. So a claim notes how far it got and the next one begins there. Whatever appears
//! further ahead, an enqueue that commits or a claim that is rolled back, takes the note back; and now and then a claim
//! begins at the very start, so that what no function of ours did is found as well.

/// Place in the order of claims: negated priority, time due in PostgreSQL's microseconds, identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Negated, so that all columns ascend.
    pub(crate) rank: i32,
    /// PostgreSQL's microseconds.
    pub(crate) run_at: i64,
    /// Identifier.
    pub(crate) job: i64,
}

impl Key {
    /// Before all jobs.
    pub(crate) const FIRST: Self = Self { rank: i32::MIN, run_at: i64::MIN, job: i64::MIN };
    /// After all jobs.
    pub(crate) const LAST: Self = Self { rank: i32::MAX, run_at: i64::MAX, job: i64::MAX };

    /// The first place after this one: no two jobs have the same number.
    pub(crate) fn next(self) -> Self {
        Self { job: self.job.saturating_add(1), ..self }
    }
}

/// Most places that are known ahead.
pub(crate) const RUNGS: usize = 12;

/// Where a claim begins, and since when it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Nothing that can be claimed is known to lie before this.
    pub(crate) key: Key,
    /// A few jobs lie between that and the first place, some more between the two: a hint that spares those who want few
    /// from reading on.
    pub(crate) ahead: Option<(Key, Key)>,
    /// Before its snapshot, in microseconds.
    since: i64,
    /// It begins at the very start, to be on the safe side.
    sweep: bool,
}

impl Start {
    /// Whether it begins at the very start although more was believed to be known.
    pub(crate) fn is_sweep(self) -> bool {
        self.sweep
    }
}

/// Lowest key that appeared within some time.
#[derive(Clone, Copy, Debug)]
struct Window {
    began: i64,
    lowest: Key,
}

/// Least time a window lasts, in microseconds.
const WINDOW: i64 = 200_000;
/// Windows kept: a claim that takes longer than all of them leaves no note.
const WINDOWS: usize = 8;
/// Least time between two sweeps, in microseconds.
const SWEEP: i64 = 1_000_000;
/// Sweeps take at most one part in so many of the time.
const SWEEP_SHARE: i64 = 20;

/// The note on one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    start: Key,
    /// In order; what is left of it is before all jobs, or has been reached.
    ahead: [Key; RUNGS],
    next_sweep: i64,
    /// Newest first.
    windows: [Window; WINDOWS],
}

impl Head {
    /// Nothing is known.
    pub(crate) fn new(now: i64) -> Self {
        let window = Window { began: now, lowest: Key::LAST };
        Self { start: Key::FIRST, ahead: [Key::FIRST; RUNGS], next_sweep: 0, windows: [window; WINDOWS] }
    }

    /// Where a claim that takes its snapshot after this begins.
    pub(crate) fn begin(&mut self, now: i64) -> Start {
        self.turn(now);
        let sweep = now >= self.next_sweep;
        if sweep {
            self.next_sweep = now + SWEEP;
        }
        let key = if sweep { Key::FIRST } else { self.start };
        let first = self.ahead.iter().find(|place| **place >= key);
        let ahead = first.filter(|_| !sweep).map(|first| (*first, self.ahead[RUNGS - 1]));
        Start { key, ahead, since: now, sweep }
    }

    /// A claim saw jobs up to these places, in order.
    pub(crate) fn look_ahead(&mut self, places: &[Key]) {
        let kept = RUNGS - places.len().min(RUNGS);
        self.ahead[..kept].fill(Key::FIRST);
        self.ahead[kept..].copy_from_slice(&places[..RUNGS - kept]);
    }

    /// A claim found nothing before `reached`.
    pub(crate) fn advance(&mut self, start: Start, reached: Key, now: i64) {
        if start.sweep {
            self.next_sweep = now + SWEEP.max((now - start.since) * SWEEP_SHARE);
        }
        // What appeared since it began it may not have seen.
        let Some(last) = self.windows.iter().position(|window| window.began <= start.since) else { return };
        let unseen = self.windows[..=last].iter().map(|window| window.lowest).min().unwrap_or(Key::FIRST);
        let sure = reached.min(unseen);
        // A sweep knows all there is, so it may go back, too.
        if start.sweep || sure > self.start {
            self.start = sure;
        }
    }

    /// A job with this key can be claimed from now on.
    pub(crate) fn appear(&mut self, key: Key, now: i64) {
        self.turn(now);
        self.start = self.start.min(key);
        self.windows[0].lowest = self.windows[0].lowest.min(key);
    }

    /// Begins a new window when it is time.
    fn turn(&mut self, now: i64) {
        if now - self.windows[0].began >= WINDOW {
            self.windows.rotate_right(1);
            self.windows[0] = Window { began: now, lowest: Key::LAST };
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn key(run_at: i64) -> Key {
        Key { rank: 0, run_at, job: run_at }
    }

    /// A head past its first sweep.
    fn swept() -> Head {
        let mut head = Head::new(0);
        let start = head.begin(0);
        head.advance(start, key(10), 1);
        head
    }

    #[test]
    fn a_claim_begins_where_the_last_one_got_to() {
        let mut head = swept();
        let start = head.begin(2);
        assert_eq!(start.key, key(10));
        head.advance(start, key(20), 3);
        assert_eq!(head.begin(4).key, key(20));
    }

    #[test]
    fn a_place_ahead_is_known_until_it_is_reached() {
        let mut head = swept();
        assert_eq!(head.begin(2).ahead, None);
        head.look_ahead(&[key(15), key(25)]);
        let start = head.begin(2);
        assert_eq!((start.key, start.ahead), (key(10), Some((key(15), key(25)))));
        head.advance(start, key(15).next(), 3);
        assert_eq!(head.begin(4).ahead, Some((key(25), key(25))));
        head.advance(start, key(25).next(), 5);
        assert_eq!(head.begin(6).ahead, None);
        assert_eq!(head.begin(SWEEP + 2).ahead, None, "a sweep sees all");
    }

    #[test]
    fn what_appears_further_ahead_is_found() {
        let mut head = swept();
        head.appear(key(5), 2);
        assert_eq!(head.begin(3).key, key(5));
    }

    #[test]
    fn what_appears_while_a_claim_looks_is_not_passed() {
        for later in [0, WINDOW, 5 * WINDOW, 100 * WINDOW] {
            let mut head = swept();
            let start = head.begin(2);
            head.appear(key(15), 3);
            for step in 1..=6 {
                head.appear(key(1000), 3 + later * step / 6);
            }
            head.advance(start, key(30), 4 + later);
            assert!(head.start <= key(15), "{later}: {:?}", head.start);
        }
    }

    #[test]
    fn what_appeared_long_ago_does_not_hold_claims_back() {
        let mut head = swept();
        head.appear(key(5), 2);
        let start = head.begin(3);
        head.advance(start, key(30), 4);
        assert_eq!(head.start, key(5), "it may have appeared just now");
        let start = head.begin(2 + WINDOW);
        head.advance(start, key(30), 3 + WINDOW);
        assert_eq!(head.start, key(30), "nothing has appeared since that claim began");
    }

    #[test]
    fn a_slower_claim_does_not_take_the_note_back() {
        let mut head = swept();
        let (slow, quick) = (head.begin(2), head.begin(2));
        head.advance(quick, key(40), 3);
        head.advance(slow, key(30), 4);
        assert_eq!(head.begin(5).key, key(40));
    }

    #[test]
    fn sweeps_come_and_take_a_small_part_of_the_time() {
        let mut head = swept();
        assert_eq!(head.begin(SWEEP).key, key(10));
        let sweep = head.begin(SWEEP + 1);
        assert_eq!(sweep.key, Key::FIRST);
        assert_eq!(head.begin(SWEEP + 2).key, key(10), "one sweeps, the others go on");
        head.advance(sweep, key(3), 2 * SWEEP + 1);
        assert_eq!(head.begin(2 * SWEEP + 2).key, key(3), "what a sweep found counts");
        assert_eq!(head.begin(21 * SWEEP).key, key(3));
        assert_eq!(head.begin(22 * SWEEP + 1).key, Key::FIRST);
    }
}
