//! What sessions tell each other and the wake-up process about jobs. Pure; [`super::shared`] keeps it in shared memory.
//!
//! All of it is hints: a new server starts with nothing and is right.

use crate::fnv::Fnv1a;
use crate::job_event::{JobEvent, MAX_EVENTS};
use crate::pending_jobs::SubtransactionFrame;
use crate::scan_hint::{QueuePosition, ScanHint};
use crate::timers::Timers;

/// Kinds reschedule after; further ones are announced by a plain NOTIFY.
const SLOTS: usize = 512;
/// Databases reschedule after.
const DATABASES: usize = 64;
/// Prepared transactions reschedule after.
const PREPARED: usize = 64;
/// Longest kind in bytes.
const KIND: usize = 63;

/// A kind of job in a database.
#[derive(Clone, Copy)]
struct KindSlot {
    database: u32,
    length: u8,
    kind: [u8; KIND],
    /// Workers are to be woken.
    pending: bool,
    hint: ScanHint,
}

/// A prepared transaction that will have a kind's workers woken.
#[derive(Clone, Copy)]
struct Prepared {
    transaction: u32,
    slot: usize,
}

/// The whole of it.
pub struct QueueState {
    /// Database of the wake-up process; 0: there is none.
    pub notifier_database: u32,
    slots: [Option<KindSlot>; SLOTS],
    timers: [(u32, Timers); DATABASES],
    prepared: [Option<Prepared>; PREPARED],
    events: [Option<JobEvent>; MAX_EVENTS],
    /// So many of them are there.
    posted: usize,
    /// More happened than there is room for.
    overflowed: bool,
}

/// What is to be sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Kinds whose workers are to be woken.
    pub kinds: Vec<String>,
    /// What watchers are to be told.
    pub events: Vec<JobEvent>,
    /// Watchers are to look for themselves.
    pub overflowed: bool,
}

impl Notifications {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.events.is_empty() && !self.overflowed
    }
}

impl Default for QueueState {
    fn default() -> Self {
        Self::new()
    }
}

impl QueueState {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self {
            notifier_database: 0,
            slots: [None; SLOTS],
            timers: [(0, Timers::UNKNOWN); DATABASES],
            prepared: [None; PREPARED],
            events: [None; MAX_EVENTS],
            posted: 0,
            overflowed: false,
        }
    }

    /// The slot of a kind, taken now if it has none; `None` when all are taken.
    pub fn slot(&mut self, database: u32, kind: &str, now: i64) -> Option<usize> {
        let name = kind.as_bytes();
        let first = (Fnv1a::EMPTY.word(database.into()).bytes(name).finish() >> 32) as usize;
        for step in 0..SLOTS {
            let index = (first + step) % SLOTS;
            match &self.slots[index] {
                Some(slot) if slot.database == database && &slot.kind[..usize::from(slot.length)] == name => {
                    return Some(index);
                }
                Some(_) => {}
                None => {
                    let length =
                        u8::try_from(name.len()).ok().filter(|length| usize::from(*length) <= KIND)?;
                    let mut kind = [0; KIND];
                    kind[..name.len()].copy_from_slice(name);
                    self.slots[index] =
                        Some(KindSlot { database, length, kind, pending: false, hint: ScanHint::new(now) });
                    return Some(index);
                }
            }
        }
        None
    }

    /// Where claims of the kind in a slot begin.
    pub fn hint(&mut self, slot: usize) -> Option<&mut ScanHint> {
        self.slots.get_mut(slot)?.as_mut().map(|slot| &mut slot.hint)
    }

    /// The timers of a database; `None` when there is room for no more.
    pub fn timers(&mut self, database: u32) -> Option<&mut Timers> {
        let index = self.timers.iter().position(|(known, _)| *known == database || *known == 0)?;
        let (known, timers) = &mut self.timers[index];
        *known = database;
        Some(timers)
    }

    /// A transaction committed. Answers whether the wake-up process has something to do that it did not have before.
    pub fn apply_commit(&mut self, database: u32, said: &SubtransactionFrame, now: i64) -> bool {
        let mut news = false;
        for note in &said.kinds {
            let Some(Some(slot)) = self.slots.get_mut(note.slot) else { continue };
            // In this order: a worker that is woken finds the job.
            if let Some(key) = note.available_on_commit {
                slot.hint.note_available(key, now);
            }
            news |= note.wake_workers && !std::mem::replace(&mut slot.pending, true);
        }
        if let Some(due) = said.next_due {
            news |= self.timers(database).is_some_and(|timers| timers.job.arm(due));
        }
        if self.notifier_database == database {
            news |= self.post(said);
        }
        news
    }

    /// A transaction or a part of one was rolled back. Answers as [`QueueState::apply_commit`].
    pub fn apply_abort(&mut self, database: u32, said: &SubtransactionFrame, now: i64) -> bool {
        let mut news = false;
        for note in &said.kinds {
            let (Some(key), Some(Some(slot))) = (note.available_on_abort, self.slots.get_mut(note.slot))
            else {
                continue;
            };
            slot.hint.note_available(key, now);
            // What it had claimed somebody else may want.
            if self.notifier_database == database {
                news |= !std::mem::replace(&mut slot.pending, true);
            }
        }
        if said.rescheduled
            && let Some(timers) = self.timers(database)
        {
            *timers = Timers::UNKNOWN;
            news = true;
        }
        news
    }

    /// A transaction was prepared: how it ends nobody will tell, so its end is reschedule for. Its watchers ask in time.
    pub fn apply_prepare(&mut self, transaction: u32, said: &SubtransactionFrame) -> bool {
        for note in said.kinds.iter().filter(|note| {
            note.wake_workers || note.available_on_commit.is_some() || note.available_on_abort.is_some()
        }) {
            match self.prepared.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some(Prepared { transaction, slot: note.slot }),
                // Without room its workers find it when they look of themselves.
                None => break,
            }
        }
        !said.kinds.is_empty()
    }

    /// Looks after prepared transactions that have ended; answers whether some have not.
    pub fn resolve_prepared(&mut self, is_running: impl Fn(u32) -> bool, now: i64) -> bool {
        let mut waiting = false;
        for place in &mut self.prepared {
            let Some(prepared) = *place else { continue };
            if is_running(prepared.transaction) {
                waiting = true;
                continue;
            }
            *place = None;
            if let Some(Some(slot)) = self.slots.get_mut(prepared.slot) {
                slot.hint.note_available(QueuePosition::FIRST, now);
                slot.pending = true;
            }
        }
        waiting
    }

    /// Takes what is to be sent in a database.
    pub fn take_notifications(&mut self, database: u32) -> Notifications {
        let pending =
            self.slots.iter_mut().flatten().filter(|slot| slot.database == database && slot.pending);
        let kinds = pending.map(|slot| {
            slot.pending = false;
            String::from_utf8_lossy(&slot.kind[..usize::from(slot.length)]).into_owned()
        });
        let kinds = kinds.collect();
        let events = self.events.iter_mut().filter_map(Option::take).collect();
        self.posted = 0;
        Notifications { kinds, events, overflowed: std::mem::take(&mut self.overflowed) }
    }

    fn post(&mut self, said: &SubtransactionFrame) -> bool {
        let mut news = false;
        for event in said.events.list() {
            // Only the last word on a job counts. Jobs in a row have places in a row, so that mostly the first look hits.
            let first = event.job.unsigned_abs() as usize % MAX_EVENTS;
            let place = (0..MAX_EVENTS)
                .map(|step| (first + step) % MAX_EVENTS)
                .find(|place| self.events[*place].is_none_or(|known| known.job == event.job));
            match place {
                Some(place) => {
                    news |= self.posted == 0;
                    self.posted += usize::from(self.events[place].is_none());
                    self.events[place] = Some(*event);
                }
                None => self.overflowed = true,
            }
        }
        news |= said.events.has_overflowed() && !self.overflowed;
        self.overflowed |= said.events.has_overflowed();
        news
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::job_event::JobAction;
    use crate::pending_jobs::{KindChange, PendingJobs};

    fn said(notes: &[KindChange], events: impl IntoIterator<Item = i64>) -> SubtransactionFrame {
        let mut log = PendingJobs::new();
        let frame = log.frame(1);
        notes.iter().for_each(|note| frame.merge(*note));
        for job in events {
            frame.push_event(JobEvent { project: None, job, action: JobAction::Enqueue });
        }
        log.finish().expect("a frame")
    }

    fn wake(slot: usize) -> KindChange {
        KindChange { slot, wake_workers: true, available_on_commit: None, available_on_abort: None }
    }

    #[test]
    fn a_kind_keeps_its_slot() {
        let mut state = QueueState::new();
        let a = state.slot(1, "a", 0);
        assert_ne!(a, state.slot(1, "b", 0));
        assert_ne!(a, state.slot(2, "a", 0));
        assert_eq!(a, state.slot(1, "a", 0));
        assert_eq!(state.slot(1, &"k".repeat(64), 0), None);
    }

    #[test]
    fn slots_run_out_without_harm() {
        let mut state = QueueState::new();
        for number in 0..SLOTS {
            assert!(state.slot(1, &format!("k{number}"), 0).is_some());
        }
        assert_eq!(state.slot(1, "one-more", 0), None);
        assert!(state.slot(1, "k0", 0).is_some());
    }

    #[test]
    fn many_commits_are_one_message() {
        let mut state = QueueState::new();
        state.notifier_database = 1;
        let (a, b) = (state.slot(1, "a", 0).unwrap(), state.slot(1, "b", 0).unwrap());
        let other = state.slot(2, "a", 0).unwrap();
        assert!(state.apply_commit(1, &said(&[wake(a)], [1]), 0));
        assert!(!state.apply_commit(1, &said(&[wake(a)], [1]), 0), "nothing new to do");
        assert!(state.apply_commit(1, &said(&[wake(b)], []), 0));
        state.apply_commit(2, &said(&[wake(other)], [5]), 0);
        let mut mail = state.take_notifications(1);
        mail.kinds.sort();
        assert_eq!(
            (mail.kinds, mail.events.len(), mail.overflowed),
            (vec!["a".to_owned(), "b".into()], 1, false)
        );
        assert!(state.take_notifications(1).is_empty());
    }

    #[test]
    fn what_does_not_fit_is_said_to_be_more() {
        let mut state = QueueState::new();
        state.notifier_database = 1;
        for job in 0..100 {
            state.apply_commit(1, &said(&[], [job]), 0);
        }
        let mail = state.take_notifications(1);
        assert_eq!((mail.events.len(), mail.overflowed), (MAX_EVENTS, true));
        assert!(state.apply_commit(1, &said(&[], 0..100), 0));
        assert_eq!(
            state.take_notifications(1),
            Notifications { overflowed: true, ..Notifications::default() }
        );
    }

    #[test]
    fn the_end_of_a_prepared_transaction_wakes() {
        let mut state = QueueState::new();
        let a = state.slot(1, "a", 0).unwrap();
        assert!(state.apply_prepare(77, &said(&[wake(a)], [])));
        assert!(state.resolve_prepared(|transaction| transaction == 77, 0));
        assert!(state.take_notifications(1).is_empty());
        assert!(!state.resolve_prepared(|_| false, 0));
        assert_eq!(state.take_notifications(1).kinds, ["a"]);
    }

    #[test]
    fn a_claim_that_is_rolled_back_wakes() {
        let mut state = QueueState::new();
        let a = state.slot(1, "a", 0).unwrap();
        let claimed = KindChange {
            slot: a,
            wake_workers: false,
            available_on_commit: None,
            available_on_abort: Some(QueuePosition::FIRST),
        };
        assert!(!state.apply_abort(1, &said(&[claimed], []), 0), "nobody to tell");
        state.notifier_database = 1;
        assert!(!state.apply_abort(1, &said(&[wake(a)], [7]), 0), "what was to be enqueued is not there");
        assert!(state.take_notifications(1).is_empty());
        assert!(state.apply_abort(1, &said(&[claimed], [7]), 0));
        assert_eq!(
            state.take_notifications(1),
            Notifications { kinds: vec!["a".into()], ..Notifications::default() }
        );
    }

    #[test]
    fn a_rollback_forgets_what_was_known_of_times() {
        let mut state = QueueState::new();
        state.timers(1).unwrap().job.reschedule(Some(900), 100, 5000);
        let mut log = PendingJobs::new();
        log.frame(1).rescheduled = true;
        state.apply_abort(1, &log.finish().unwrap(), 0);
        assert!(state.timers(1).unwrap().job.is_due(101));
    }
}
