//! What the transaction at hand will have to say about jobs when it ends. Pure.
//!
//! Everything is merged as it comes, so that a transaction which enqueues a million jobs keeps a few lines.

use super::event::{Event, Events};
use super::head::Key;

/// What is to be said of one kind, by the number of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Slot of the kind.
    pub(crate) slot: usize,
    /// Workers are to be woken if it commits.
    pub(crate) wake: bool,
    /// Lowest job that can be claimed if it commits.
    pub(crate) on_commit: Option<Key>,
    /// Lowest job that can be claimed again if it is rolled back.
    pub(crate) on_abort: Option<Key>,
}

/// A subtransaction.
#[derive(Debug, Default)]
pub(crate) struct Level {
    subtransaction: u32,
    /// One for each kind.
    pub(crate) notes: Vec<Note>,
    /// Earliest job that becomes due later, in PostgreSQL's microseconds.
    pub(crate) due: Option<i64>,
    /// It moved on what others know of times, which means nothing if it is rolled back.
    pub(crate) moved_clocks: bool,
    /// What watchers are to be told if it commits.
    pub(crate) events: Events,
}

impl Level {
    /// Adds what is to be said of a kind.
    pub(crate) fn note(&mut self, new: Note) {
        match self.notes.iter_mut().find(|note| note.slot == new.slot) {
            Some(note) => {
                note.wake |= new.wake;
                note.on_commit = lower(note.on_commit, new.on_commit);
                note.on_abort = lower(note.on_abort, new.on_abort);
            }
            None => self.notes.push(new),
        }
    }

    /// Adds a job that becomes due later.
    pub(crate) fn due(&mut self, at: i64) {
        self.due = lower(self.due, Some(at));
    }

    /// Adds something that happened.
    pub(crate) fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    fn absorb(&mut self, child: Self) {
        child.notes.into_iter().for_each(|note| self.note(note));
        self.due = lower(self.due, child.due);
        self.moved_clocks |= child.moved_clocks;
        self.events.append(child.events);
    }
}

fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

/// The subtransactions that have something to say, outermost first.
#[derive(Debug, Default)]
pub(crate) struct Log(Vec<Level>);

impl Log {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The level of a subtransaction, which is the innermost one at hand.
    pub(crate) fn level(&mut self, subtransaction: u32) -> &mut Level {
        if self.0.last().is_none_or(|last| last.subtransaction != subtransaction) {
            self.0.push(Level { subtransaction, ..Level::default() });
        }
        self.0.last_mut().expect("there is one, if only since now")
    }

    /// A subtransaction ended well: what it has to say is its parent's.
    pub(crate) fn reparent(&mut self, subtransaction: u32, parent: u32) {
        if self.0.last().is_some_and(|last| last.subtransaction == subtransaction)
            && let Some(child) = self.0.pop()
        {
            self.level(parent).absorb(child);
        }
    }

    /// A subtransaction was rolled back: what it leaves, which is then forgotten.
    pub(crate) fn undo(&mut self, subtransaction: u32) -> Option<Level> {
        self.0.pop_if(|last| last.subtransaction == subtransaction)
    }

    /// The transaction ended: all it has to say, which is then forgotten.
    pub(crate) fn finish(&mut self) -> Option<Level> {
        let mut levels = std::mem::take(&mut self.0).into_iter();
        let mut all = levels.next()?;
        levels.for_each(|level| all.absorb(level));
        Some(all)
    }

    /// Lowest job of a kind, by the number of its slot, that nobody else can claim yet.
    pub(crate) fn first(&self, slot: usize) -> Option<Key> {
        let notes = self.0.iter().flat_map(|level| &level.notes);
        notes.filter(|note| note.slot == slot).filter_map(|note| note.on_commit).min()
    }

    /// Whether there is nothing to say.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod unit {
    use super::super::event::Action;
    use super::*;

    fn key(job: i64) -> Key {
        Key { rank: 0, run_at: 0, job }
    }

    fn wake(slot: usize, job: i64) -> Note {
        Note { slot, wake: true, on_commit: Some(key(job)), on_abort: None }
    }

    fn event(job: i64) -> Event {
        Event { project: None, job, action: Action::Enqueue }
    }

    #[test]
    fn a_rollback_to_a_savepoint_leaves_what_came_before() {
        let mut log = Log::new();
        log.level(1).note(wake(0, 7));
        log.level(2).note(wake(1, 8));
        log.level(2).event(event(8));
        log.level(3).note(wake(0, 3));
        log.reparent(3, 2);
        let undone = log.undo(2).expect("it had something to say");
        assert_eq!(undone.notes, [wake(1, 8), wake(0, 3)]);
        let rest = log.finish().expect("the outermost level");
        assert_eq!(rest.notes, [wake(0, 7)]);
        assert_eq!(rest.events.list(), []);
        assert!(log.is_empty());
    }

    #[test]
    fn released_savepoints_are_merged() {
        let mut log = Log::new();
        log.level(1).note(wake(0, 7));
        log.level(1).due(50);
        let child = log.level(2);
        child.note(Note { slot: 0, wake: false, on_commit: Some(key(3)), on_abort: Some(key(9)) });
        child.due(40);
        child.event(event(3));
        child.moved_clocks = true;
        log.reparent(2, 1);
        let all = log.finish().expect("something");
        assert_eq!(
            all.notes,
            [Note { slot: 0, wake: true, on_commit: Some(key(3)), on_abort: Some(key(9)) }]
        );
        assert_eq!((all.due, all.moved_clocks), (Some(40), true));
        assert_eq!(all.events.list(), [event(3)]);
    }

    #[test]
    fn a_subtransaction_without_anything_to_say_changes_nothing() {
        let mut log = Log::new();
        log.level(1).note(wake(0, 7));
        log.reparent(5, 1);
        assert!(log.undo(6).is_none());
        assert_eq!(log.finish().map(|all| all.notes), Some(vec![wake(0, 7)]));
    }

    #[test]
    fn what_others_do_not_see_yet_has_a_beginning() {
        let mut log = Log::new();
        assert_eq!(log.first(0), None);
        log.level(1).note(wake(0, 7));
        log.level(2).note(wake(0, 5));
        log.level(2).note(wake(1, 3));
        assert_eq!(log.first(0), Some(key(5)));
        log.undo(2);
        assert_eq!((log.first(0), log.first(1)), (Some(key(7)), None));
    }

    #[test]
    fn a_million_jobs_are_one_line() {
        let mut log = Log::new();
        for job in 0..1_000_000 {
            log.level(1).note(wake(0, job));
            log.level(1).event(event(job));
        }
        let all = log.finish().expect("something");
        assert_eq!(all.notes, [wake(0, 0)]);
        assert!(all.events.is_overrun());
    }
}
