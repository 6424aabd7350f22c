//! State of the job queue that sessions share: where claims begin, timers, and the notifications still to
//! be sent.
//!
//! A plain value; the extension keeps it in shared memory under a lock. All of it is hints: a server that
//! starts with nothing is right, only slower at first.

use crate::fnv::Fnv1a;
use crate::job_event::{JobEvent, MAX_EVENTS};
use crate::pending_jobs::{KindChange, NodeId, SubtransactionFrame};
use crate::scan_hint::{QueuePosition, ScanHint};
use crate::timers::Timers;

/// Kinds of jobs, of all databases. Claims of further ones scan from the start, and their enqueues run
/// NOTIFY.
const MAX_KINDS: usize = 512;
/// Databases with timers.
const MAX_DATABASES: usize = 64;
/// Pairs of a prepared transaction and a kind.
const MAX_PREPARED: usize = 64;
/// Nodes of which notifications are kept one by one.
const MAX_NODES: usize = 64;
/// Bytes of the name of a kind.
const MAX_KIND_BYTES: usize = 63;

/// A kind of job in a database.
#[derive(Clone, Copy)]
struct KindSlot {
    database: u32,
    length: u8,
    name: [u8; MAX_KIND_BYTES],
    /// Its workers are to be woken.
    wake_pending: bool,
    hint: ScanHint,
}

impl KindSlot {
    /// `None` if the name is too long.
    fn new(database: u32, name: &[u8], now: i64) -> Option<Self> {
        let mut padded = [0; MAX_KIND_BYTES];
        padded.get_mut(..name.len())?.copy_from_slice(name);
        let length = u8::try_from(name.len()).ok()?;
        Some(Self { database, length, name: padded, wake_pending: false, hint: ScanHint::new(now) })
    }

    fn name(&self) -> &[u8] {
        &self.name[..usize::from(self.length)]
    }

    /// Has the workers woken; returns whether they were not about to be.
    fn wake(&mut self) -> bool {
        !std::mem::replace(&mut self.wake_pending, true)
    }
}

/// A prepared transaction that changed jobs of a kind.
#[derive(Clone, Copy)]
struct PreparedChange {
    transaction: u32,
    slot: usize,
}

/// The shared state of the queue.
pub struct QueueState {
    /// Database of the notifier process; 0: none runs.
    pub notifier_database: u32,
    /// Open-addressed hash table. Slots are never freed, so sessions remember their numbers.
    kinds: [Option<KindSlot>; MAX_KINDS],
    /// In order of first use; database 0 marks free entries at the end.
    timers: [(u32, Timers); MAX_DATABASES],
    prepared: [Option<PreparedChange>; MAX_PREPARED],
    events: [Option<JobEvent>; MAX_EVENTS],
    event_count: usize,
    /// There were more events than fit.
    overflowed: bool,
    /// Nodes whose agents are to be woken, from the first entry on.
    nodes: [Option<NodeId>; MAX_NODES],
    /// There were more nodes than fit.
    all_nodes: bool,
}

/// Notifications that the notifier process sends in one round.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Kinds whose workers are to be woken.
    pub kinds: Vec<String>,
    /// Events for watchers.
    pub events: Vec<JobEvent>,
    /// There were more events: watchers are to read the list of jobs again.
    pub overflowed: bool,
    /// Nodes whose agents are to be woken.
    pub nodes: Vec<NodeId>,
    /// There were more nodes: all agents are to be woken.
    pub all_nodes: bool,
}

impl Notifications {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
            && self.events.is_empty()
            && !self.overflowed
            && self.nodes.is_empty()
            && !self.all_nodes
    }
}

impl Default for QueueState {
    fn default() -> Self {
        Self::new()
    }
}

impl QueueState {
    /// A state that knows nothing.
    pub const fn new() -> Self {
        Self {
            notifier_database: 0,
            kinds: [None; MAX_KINDS],
            timers: [(0, Timers::UNKNOWN); MAX_DATABASES],
            prepared: [None; MAX_PREPARED],
            events: [None; MAX_EVENTS],
            event_count: 0,
            overflowed: false,
            nodes: [None; MAX_NODES],
            all_nodes: false,
        }
    }

    /// The slot of a kind, added if need be. `None`: all slots are taken, or the name is too long.
    pub fn slot(&mut self, database: u32, kind: &str, now: i64) -> Option<usize> {
        let name = kind.as_bytes();
        let first = (Fnv1a::EMPTY.word(database.into()).bytes(name).finish() >> 32) as usize;
        for step in 0..MAX_KINDS {
            let index = (first + step) % MAX_KINDS;
            match &self.kinds[index] {
                Some(slot) if slot.database == database && slot.name() == name => return Some(index),
                Some(_) => {}
                None => {
                    self.kinds[index] = Some(KindSlot::new(database, name, now)?);
                    return Some(index);
                }
            }
        }
        None
    }

    fn kind_slot(&mut self, slot: usize) -> Option<&mut KindSlot> {
        self.kinds.get_mut(slot)?.as_mut()
    }

    /// Where claims of a kind begin.
    pub fn hint(&mut self, slot: usize) -> Option<&mut ScanHint> {
        self.kind_slot(slot).map(|kind| &mut kind.hint)
    }

    /// The timers of a database, added if need be. `None`: there is no room.
    pub fn timers(&mut self, database: u32) -> Option<&mut Timers> {
        let index = self.timers.iter().position(|(owner, _)| *owner == database || *owner == 0)?;
        let (owner, timers) = &mut self.timers[index];
        *owner = database;
        Some(timers)
    }

    /// Applies the changes of a transaction that committed. Returns whether to wake the notifier process.
    pub fn apply_commit(&mut self, database: u32, frame: &SubtransactionFrame, now: i64) -> bool {
        let mut wake_notifier = false;
        for change in &frame.kinds {
            let Some(kind) = self.kind_slot(change.slot) else { continue };
            // The hint first, so that a worker which is woken finds the job.
            if let Some(position) = change.available_on_commit {
                kind.hint.note_available(position, now);
            }
            wake_notifier |= change.wake_workers && kind.wake();
        }
        if let Some(due) = frame.next_due {
            wake_notifier |= self.timers(database).is_some_and(|timers| timers.job.arm(due));
        }
        if self.notifier_database == database {
            wake_notifier |= self.add_events(frame);
            wake_notifier |= self.add_nodes(&frame.nodes);
        }
        wake_notifier
    }

    /// Applies the changes of a transaction or subtransaction that was rolled back. Returns whether to wake
    /// the notifier process.
    pub fn apply_abort(&mut self, database: u32, frame: &SubtransactionFrame, now: i64) -> bool {
        let mut wake_notifier = false;
        let notifier_runs = self.notifier_database == database;
        for change in &frame.kinds {
            let Some(position) = change.available_on_abort else { continue };
            let Some(kind) = self.kind_slot(change.slot) else { continue };
            kind.hint.note_available(position, now);
            // Workers that found nothing because of this claim wait for a message.
            wake_notifier |= notifier_runs && kind.wake();
        }
        if frame.rescheduled
            && let Some(timers) = self.timers(database)
        {
            *timers = Timers::UNKNOWN;
            wake_notifier = true;
        }
        wake_notifier
    }

    /// Records the kinds that a prepared transaction changed. No session applies its end, so the notifier
    /// process asks whether it is over. Returns whether to wake that process.
    pub fn apply_prepare(&mut self, transaction: u32, frame: &SubtransactionFrame) -> bool {
        let matters = |change: &&KindChange| {
            change.wake_workers || change.available_on_commit.is_some() || change.available_on_abort.is_some()
        };
        let mut free = self.prepared.iter_mut().filter(|entry| entry.is_none());
        // Changes that do not fit are dropped: workers find those jobs at their next poll.
        for (change, entry) in frame.kinds.iter().filter(matters).zip(&mut free) {
            *entry = Some(PreparedChange { transaction, slot: change.slot });
        }
        !frame.kinds.is_empty()
    }

    /// Wakes the workers of kinds whose prepared transactions are over. Returns whether others still run.
    pub fn resolve_prepared(&mut self, is_running: impl Fn(u32) -> bool, now: i64) -> bool {
        let mut some_run = false;
        for index in 0..MAX_PREPARED {
            let Some(change) = self.prepared[index] else { continue };
            if is_running(change.transaction) {
                some_run = true;
                continue;
            }
            self.prepared[index] = None;
            if let Some(kind) = self.kind_slot(change.slot) {
                // It is not recorded which jobs became available.
                kind.hint.note_available(QueuePosition::FIRST, now);
                kind.wake();
            }
        }
        some_run
    }

    /// Removes and returns what is to be sent in a database.
    pub fn take_notifications(&mut self, database: u32) -> Notifications {
        let pending = |kind: &&mut KindSlot| kind.database == database && kind.wake_pending;
        let kinds = self.kinds.iter_mut().flatten().filter(pending).map(|kind| {
            kind.wake_pending = false;
            String::from_utf8_lossy(kind.name()).into_owned()
        });
        let kinds = kinds.collect();
        let events = self.events.iter_mut().filter_map(Option::take).collect();
        self.event_count = 0;
        Notifications {
            kinds,
            events,
            overflowed: std::mem::take(&mut self.overflowed),
            nodes: self.nodes.iter_mut().map_while(Option::take).collect(),
            all_nodes: std::mem::take(&mut self.all_nodes),
        }
    }

    /// Adds nodes whose agents are to be woken. Returns whether to wake the notifier process.
    fn add_nodes(&mut self, nodes: &[NodeId]) -> bool {
        let was_empty = self.nodes[0].is_none() && !self.all_nodes;
        for node in nodes {
            match self.nodes.iter_mut().find(|entry| entry.is_none_or(|known| known == *node)) {
                Some(entry) => *entry = Some(*node),
                None => self.all_nodes = true,
            }
        }
        was_empty && !nodes.is_empty()
    }

    /// Adds events for watchers. Returns whether to wake the notifier process.
    fn add_events(&mut self, frame: &SubtransactionFrame) -> bool {
        let mut wake_notifier = false;
        for event in frame.events.list() {
            // A hash table by job, because only the latest event of a job counts. Consecutive identifiers
            // start at consecutive entries, so the first probe mostly hits.
            let first = event.job.unsigned_abs() as usize % MAX_EVENTS;
            let entry = (0..MAX_EVENTS)
                .map(|step| (first + step) % MAX_EVENTS)
                .find(|index| self.events[*index].is_none_or(|earlier| earlier.job == event.job));
            match entry {
                Some(index) => {
                    wake_notifier |= self.event_count == 0;
                    self.event_count += usize::from(self.events[index].is_none());
                    self.events[index] = Some(*event);
                }
                None => self.overflowed = true,
            }
        }
        wake_notifier |= frame.events.has_overflowed() && !self.overflowed;
        self.overflowed |= frame.events.has_overflowed();
        wake_notifier
    }
}

#[cfg(test)]
mod tests;
