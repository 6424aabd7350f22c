//! What the transaction at hand will have to say about jobs when it ends. Pure.
//!
//! Everything is merged as it comes, so that a transaction which enqueues a million jobs keeps a few lines.

use crate::job_event::{JobEvent, JobEvents};
use crate::scan_hint::QueuePosition;

/// What is to be said of one kind, by the number of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindChange {
    /// Slot of the kind.
    pub slot: usize,
    /// Workers are to be woken if it commits.
    pub wake_workers: bool,
    /// Lowest job that can be claimed if it commits.
    pub available_on_commit: Option<QueuePosition>,
    /// Lowest job that can be claimed again if it is rolled back.
    pub available_on_abort: Option<QueuePosition>,
}

/// A subtransaction.
#[derive(Debug, Default)]
pub struct SubtransactionFrame {
    subtransaction: u32,
    /// One for each kind.
    pub kinds: Vec<KindChange>,
    /// Earliest job that becomes due later, in PostgreSQL's microseconds.
    pub next_due: Option<i64>,
    /// It moved on what others know of times, which means nothing if it is rolled back.
    pub rescheduled: bool,
    /// What watchers are to be told if it commits.
    pub events: JobEvents,
}

impl SubtransactionFrame {
    /// Adds what is to be said of a kind.
    pub fn merge(&mut self, new: KindChange) {
        match self.kinds.iter_mut().find(|note| note.slot == new.slot) {
            Some(note) => {
                note.wake_workers |= new.wake_workers;
                note.available_on_commit = lower(note.available_on_commit, new.available_on_commit);
                note.available_on_abort = lower(note.available_on_abort, new.available_on_abort);
            }
            None => self.kinds.push(new),
        }
    }

    /// Adds a job that becomes due later.
    pub fn add_due(&mut self, at: i64) {
        self.next_due = lower(self.next_due, Some(at));
    }

    /// Adds something that happened.
    pub fn push_event(&mut self, event: JobEvent) {
        self.events.push(event);
    }

    fn absorb(&mut self, child: Self) {
        child.kinds.into_iter().for_each(|note| self.merge(note));
        self.next_due = lower(self.next_due, child.next_due);
        self.rescheduled |= child.rescheduled;
        self.events.append(child.events);
    }
}

fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

/// The subtransactions that have something to say, outermost first.
#[derive(Debug, Default)]
pub struct PendingJobs(Vec<SubtransactionFrame>);

impl PendingJobs {
    /// An empty one.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The frame of a subtransaction, which is the innermost one at hand.
    pub fn frame(&mut self, subtransaction: u32) -> &mut SubtransactionFrame {
        if self.0.last().is_none_or(|last| last.subtransaction != subtransaction) {
            self.0.push(SubtransactionFrame { subtransaction, ..SubtransactionFrame::default() });
        }
        self.0.last_mut().expect("there is one, if only since now")
    }

    /// A subtransaction ended well: what it has to say is its parent's.
    pub fn reparent(&mut self, subtransaction: u32, parent: u32) {
        if self.0.last().is_some_and(|last| last.subtransaction == subtransaction)
            && let Some(child) = self.0.pop()
        {
            self.frame(parent).absorb(child);
        }
    }

    /// A subtransaction was rolled back: what it leaves, which is then forgotten.
    pub fn undo(&mut self, subtransaction: u32) -> Option<SubtransactionFrame> {
        self.0.pop_if(|last| last.subtransaction == subtransaction)
    }

    /// The transaction ended: all it has to say, which is then forgotten.
    pub fn finish(&mut self) -> Option<SubtransactionFrame> {
        let mut frames = std::mem::take(&mut self.0).into_iter();
        let mut all = frames.next()?;
        frames.for_each(|frame| all.absorb(frame));
        Some(all)
    }

    /// Lowest job of a kind, by the number of its slot, that nobody else can claim yet.
    pub fn first_enqueued(&self, slot: usize) -> Option<QueuePosition> {
        let notes = self.0.iter().flat_map(|frame| &frame.kinds);
        notes.filter(|note| note.slot == slot).filter_map(|note| note.available_on_commit).min()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::job_event::JobAction;

    fn position(job: i64) -> QueuePosition {
        QueuePosition { rank: 0, run_at: 0, job }
    }

    fn wake(slot: usize, job: i64) -> KindChange {
        KindChange {
            slot,
            wake_workers: true,
            available_on_commit: Some(position(job)),
            available_on_abort: None,
        }
    }

    fn event(job: i64) -> JobEvent {
        JobEvent { project: None, job, action: JobAction::Enqueue }
    }

    #[test]
    fn a_rollback_to_a_savepoint_leaves_what_came_before() {
        let mut log = PendingJobs::new();
        log.frame(1).merge(wake(0, 7));
        log.frame(2).merge(wake(1, 8));
        log.frame(2).push_event(event(8));
        log.frame(3).merge(wake(0, 3));
        log.reparent(3, 2);
        let undone = log.undo(2).expect("it had something to say");
        assert_eq!(undone.kinds, [wake(1, 8), wake(0, 3)]);
        let rest = log.finish().expect("the outermost frame");
        assert_eq!(rest.kinds, [wake(0, 7)]);
        assert_eq!(rest.events.list(), []);
        assert!(log.is_empty());
    }

    #[test]
    fn released_savepoints_are_merged() {
        let mut log = PendingJobs::new();
        log.frame(1).merge(wake(0, 7));
        log.frame(1).add_due(50);
        let child = log.frame(2);
        child.merge(KindChange {
            slot: 0,
            wake_workers: false,
            available_on_commit: Some(position(3)),
            available_on_abort: Some(position(9)),
        });
        child.add_due(40);
        child.push_event(event(3));
        child.rescheduled = true;
        log.reparent(2, 1);
        let all = log.finish().expect("something");
        assert_eq!(
            all.kinds,
            [KindChange {
                slot: 0,
                wake_workers: true,
                available_on_commit: Some(position(3)),
                available_on_abort: Some(position(9))
            }]
        );
        assert_eq!((all.next_due, all.rescheduled), (Some(40), true));
        assert_eq!(all.events.list(), [event(3)]);
    }

    #[test]
    fn a_subtransaction_without_anything_to_say_changes_nothing() {
        let mut log = PendingJobs::new();
        log.frame(1).merge(wake(0, 7));
        log.reparent(5, 1);
        assert!(log.undo(6).is_none());
        assert_eq!(log.finish().map(|all| all.kinds), Some(vec![wake(0, 7)]));
    }

    #[test]
    fn what_others_do_not_see_yet_has_a_beginning() {
        let mut log = PendingJobs::new();
        assert_eq!(log.first_enqueued(0), None);
        log.frame(1).merge(wake(0, 7));
        log.frame(2).merge(wake(0, 5));
        log.frame(2).merge(wake(1, 3));
        assert_eq!(log.first_enqueued(0), Some(position(5)));
        log.undo(2);
        assert_eq!((log.first_enqueued(0), log.first_enqueued(1)), (Some(position(7)), None));
    }

    #[test]
    fn a_million_jobs_are_one_line() {
        let mut log = PendingJobs::new();
        for job in 0..1_000_000 {
            log.frame(1).merge(wake(0, job));
            log.frame(1).push_event(event(job));
        }
        let all = log.finish().expect("something");
        assert_eq!(all.kinds, [wake(0, 0)]);
        assert!(all.events.has_overflowed());
    }
}
