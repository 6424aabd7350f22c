//! What sessions tell each other and the wake-up process about jobs. Pure; [`super::shared`] keeps it in shared memory.
//!
//! All of it is hints: a new server starts with nothing and is right.

use super::clock::Clock;
use super::event::{Event, MOST};
use super::head::{Head, Key};
use super::log::Level;

/// Kinds looked after; further ones are announced by a plain NOTIFY.
const SLOTS: usize = 512;
/// Databases looked after.
const DATABASES: usize = 64;
/// Prepared transactions looked after.
const PREPARED: usize = 64;
/// Longest kind in bytes.
const KIND: usize = 63;

/// A kind of job in a database.
#[derive(Clone, Copy)]
struct Slot {
    database: u32,
    length: u8,
    kind: [u8; KIND],
    /// Workers are to be woken.
    pending: bool,
    head: Head,
}

/// A prepared transaction that will have a kind's workers woken.
#[derive(Clone, Copy)]
struct Prepared {
    transaction: u32,
    slot: usize,
}

/// The whole of it.
pub(crate) struct State {
    /// Database of the wake-up process; 0: there is none.
    pub(crate) served: u32,
    slots: [Option<Slot>; SLOTS],
    clocks: [(u32, Clock); DATABASES],
    prepared: [Option<Prepared>; PREPARED],
    events: [Option<Event>; MOST],
    /// So many of them are there.
    posted: usize,
    /// More happened than there is room for.
    overrun: bool,
}

/// What is to be sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mail {
    /// Kinds whose workers are to be woken.
    pub(crate) kinds: Vec<String>,
    /// What watchers are to be told.
    pub(crate) events: Vec<Event>,
    /// Watchers are to look for themselves.
    pub(crate) overrun: bool,
}

impl Mail {
    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.events.is_empty() && !self.overrun
    }
}

impl State {
    /// Nothing is known.
    pub(crate) const fn new() -> Self {
        Self {
            served: 0,
            slots: [None; SLOTS],
            clocks: [(0, Clock::UNKNOWN); DATABASES],
            prepared: [None; PREPARED],
            events: [None; MOST],
            posted: 0,
            overrun: false,
        }
    }

    /// The slot of a kind, taken now if it has none; `None` when all are taken.
    pub(crate) fn slot(&mut self, database: u32, kind: &str, now: i64) -> Option<usize> {
        let name = kind.as_bytes();
        let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64 ^ u64::from(database), |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let first = (hash >> 32) as usize;
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
                        Some(Slot { database, length, kind, pending: false, head: Head::new(now) });
                    return Some(index);
                }
            }
        }
        None
    }

    /// Where claims of the kind in a slot begin.
    pub(crate) fn head(&mut self, slot: usize) -> Option<&mut Head> {
        self.slots.get_mut(slot)?.as_mut().map(|slot| &mut slot.head)
    }

    /// The clock of a database; `None` when there is room for no more.
    pub(crate) fn clock(&mut self, database: u32) -> Option<&mut Clock> {
        let index = self.clocks.iter().position(|(known, _)| *known == database || *known == 0)?;
        let (known, clock) = &mut self.clocks[index];
        *known = database;
        Some(clock)
    }

    /// A transaction committed. Answers whether the wake-up process has something to do that it did not have before.
    pub(crate) fn committed(&mut self, database: u32, said: &Level, now: i64) -> bool {
        let mut news = false;
        for note in &said.notes {
            let Some(Some(slot)) = self.slots.get_mut(note.slot) else { continue };
            // In this order: a worker that is woken finds the job.
            if let Some(key) = note.on_commit {
                slot.head.appear(key, now);
            }
            news |= note.wake && !std::mem::replace(&mut slot.pending, true);
        }
        if let Some(due) = said.due {
            news |= self.clock(database).is_some_and(|clock| clock.due.expect(due));
        }
        if self.served == database {
            news |= self.post(said);
        }
        news
    }

    /// A transaction or a part of one was rolled back. Answers as [`State::committed`].
    pub(crate) fn undone(&mut self, database: u32, said: &Level, now: i64) -> bool {
        let mut news = false;
        for note in &said.notes {
            let (Some(key), Some(Some(slot))) = (note.on_abort, self.slots.get_mut(note.slot)) else {
                continue;
            };
            slot.head.appear(key, now);
            // What it had claimed somebody else may want.
            if self.served == database {
                news |= !std::mem::replace(&mut slot.pending, true);
            }
        }
        if said.moved_clocks
            && let Some(clock) = self.clock(database)
        {
            *clock = Clock::UNKNOWN;
            news = true;
        }
        news
    }

    /// A transaction was prepared: how it ends nobody will tell, so its end is looked for. Its watchers ask in time.
    pub(crate) fn prepared(&mut self, transaction: u32, said: &Level) -> bool {
        for note in
            said.notes.iter().filter(|note| note.wake || note.on_commit.is_some() || note.on_abort.is_some())
        {
            match self.prepared.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some(Prepared { transaction, slot: note.slot }),
                // Without room its workers find it when they look of themselves.
                None => break,
            }
        }
        !said.notes.is_empty()
    }

    /// Looks after prepared transactions that have ended; answers whether some have not.
    pub(crate) fn settle(&mut self, is_running: impl Fn(u32) -> bool, now: i64) -> bool {
        let mut waiting = false;
        for place in &mut self.prepared {
            let Some(prepared) = *place else { continue };
            if is_running(prepared.transaction) {
                waiting = true;
                continue;
            }
            *place = None;
            if let Some(Some(slot)) = self.slots.get_mut(prepared.slot) {
                slot.head.appear(Key::FIRST, now);
                slot.pending = true;
            }
        }
        waiting
    }

    /// Takes what is to be sent in a database.
    pub(crate) fn collect(&mut self, database: u32) -> Mail {
        let pending =
            self.slots.iter_mut().flatten().filter(|slot| slot.database == database && slot.pending);
        let kinds = pending.map(|slot| {
            slot.pending = false;
            String::from_utf8_lossy(&slot.kind[..usize::from(slot.length)]).into_owned()
        });
        let kinds = kinds.collect();
        let events = self.events.iter_mut().filter_map(Option::take).collect();
        self.posted = 0;
        Mail { kinds, events, overrun: std::mem::take(&mut self.overrun) }
    }

    fn post(&mut self, said: &Level) -> bool {
        let mut news = false;
        for event in said.events.list() {
            // Only the last word on a job counts. Jobs in a row have places in a row, so that mostly the first look hits.
            let first = event.job.unsigned_abs() as usize % MOST;
            let place = (0..MOST)
                .map(|step| (first + step) % MOST)
                .find(|place| self.events[*place].is_none_or(|known| known.job == event.job));
            match place {
                Some(place) => {
                    news |= self.posted == 0;
                    self.posted += usize::from(self.events[place].is_none());
                    self.events[place] = Some(*event);
                }
                None => self.overrun = true,
            }
        }
        news |= said.events.is_overrun() && !self.overrun;
        self.overrun |= said.events.is_overrun();
        news
    }
}

#[cfg(test)]
mod unit {
    use super::super::event::Action;
    use super::super::log::{Log, Note};
    use super::*;

    fn said(notes: &[Note], events: impl IntoIterator<Item = i64>) -> Level {
        let mut log = Log::new();
        let level = log.level(1);
        notes.iter().for_each(|note| level.note(*note));
        for job in events {
            level.event(Event { project: None, job, action: Action::Enqueue });
        }
        log.finish().expect("a level")
    }

    fn wake(slot: usize) -> Note {
        Note { slot, wake: true, on_commit: None, on_abort: None }
    }

    #[test]
    fn a_kind_keeps_its_slot() {
        let mut state = State::new();
        let a = state.slot(1, "a", 0);
        assert_ne!(a, state.slot(1, "b", 0));
        assert_ne!(a, state.slot(2, "a", 0));
        assert_eq!(a, state.slot(1, "a", 0));
        assert_eq!(state.slot(1, &"k".repeat(64), 0), None);
    }

    #[test]
    fn slots_run_out_without_harm() {
        let mut state = State::new();
        for number in 0..SLOTS {
            assert!(state.slot(1, &format!("k{number}"), 0).is_some());
        }
        assert_eq!(state.slot(1, "one-more", 0), None);
        assert!(state.slot(1, "k0", 0).is_some());
    }

    #[test]
    fn many_commits_are_one_message() {
        let mut state = State::new();
        state.served = 1;
        let (a, b) = (state.slot(1, "a", 0).unwrap(), state.slot(1, "b", 0).unwrap());
        let other = state.slot(2, "a", 0).unwrap();
        assert!(state.committed(1, &said(&[wake(a)], [1]), 0));
        assert!(!state.committed(1, &said(&[wake(a)], [1]), 0), "nothing new to do");
        assert!(state.committed(1, &said(&[wake(b)], []), 0));
        state.committed(2, &said(&[wake(other)], [5]), 0);
        let mut mail = state.collect(1);
        mail.kinds.sort();
        assert_eq!(
            (mail.kinds, mail.events.len(), mail.overrun),
            (vec!["a".to_owned(), "b".into()], 1, false)
        );
        assert!(state.collect(1).is_empty());
    }

    #[test]
    fn what_does_not_fit_is_said_to_be_more() {
        let mut state = State::new();
        state.served = 1;
        for job in 0..100 {
            state.committed(1, &said(&[], [job]), 0);
        }
        let mail = state.collect(1);
        assert_eq!((mail.events.len(), mail.overrun), (MOST, true));
        assert!(state.committed(1, &said(&[], 0..100), 0));
        assert_eq!(state.collect(1), Mail { overrun: true, ..Mail::default() });
    }

    #[test]
    fn the_end_of_a_prepared_transaction_wakes() {
        let mut state = State::new();
        let a = state.slot(1, "a", 0).unwrap();
        assert!(state.prepared(77, &said(&[wake(a)], [])));
        assert!(state.settle(|transaction| transaction == 77, 0));
        assert!(state.collect(1).is_empty());
        assert!(!state.settle(|_| false, 0));
        assert_eq!(state.collect(1).kinds, ["a"]);
    }

    #[test]
    fn a_claim_that_is_rolled_back_wakes() {
        let mut state = State::new();
        let a = state.slot(1, "a", 0).unwrap();
        let claimed = Note { slot: a, wake: false, on_commit: None, on_abort: Some(Key::FIRST) };
        assert!(!state.undone(1, &said(&[claimed], []), 0), "nobody to tell");
        state.served = 1;
        assert!(!state.undone(1, &said(&[wake(a)], [7]), 0), "what was to be enqueued is not there");
        assert!(state.collect(1).is_empty());
        assert!(state.undone(1, &said(&[claimed], [7]), 0));
        assert_eq!(state.collect(1), Mail { kinds: vec!["a".into()], ..Mail::default() });
    }

    #[test]
    fn a_rollback_forgets_what_was_known_of_times() {
        let mut state = State::new();
        state.clock(1).unwrap().due.looked(Some(900), 100, 5000);
        let mut log = Log::new();
        log.level(1).moved_clocks = true;
        state.undone(1, &log.finish().unwrap(), 0);
        assert!(state.clock(1).unwrap().due.has_come(101));
    }
}
