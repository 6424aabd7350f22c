//! Telling workers and watchers about jobs.
//!
//! NOTIFY in the transaction that enqueues would make all commits of the database queue up behind each other. So, with
//! preload, a transaction only notes what it will have to say; when it has committed, and can be seen, the notes go to
//! shared memory, and a process of its own turns them into at most one round of NOTIFY in 5 ms. Without preload, or in a
//! database that this process does not serve, it is a plain NOTIFY. Receivers treat it as a hint and look.
//!
//! On the same path travels what spares claims from looking in vain: where the jobs of a kind begin ([`head`]), and
//! when something becomes due ([`clock`]).

pub(crate) mod clock;
mod event;
pub(crate) mod head;
mod log;
mod process;
pub(crate) mod shared;
mod state;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

pub(crate) use event::Action;
use event::Event;
use log::{Level, Log, Note};
use pgrx::Uuid;

use self::clock::{Alarm, Clock, Come};
use self::head::{Key, Start};
use self::state::State;
use crate::error::Result;
use crate::map;
use crate::plan::{Plan, as_owner};

/// Longest time between two looks for what time brings, in microseconds: with and without shared memory.
const PATIENCE: (i64, i64) = (5_000_000, 1_000_000);

/// Stands for all kinds in a notification.
pub(crate) const ANY_KIND: &str = "";

thread_local! {
    static LOG: RefCell<Log> = const { RefCell::new(Log::new()) };
    /// Slots of kinds in shared memory, which they keep for as long as the server runs.
    static SLOTS: RefCell<HashMap<String, usize>> = RefCell::new(HashMap::new());
    /// The clock of a session without shared memory.
    static CLOCK: Cell<Clock> = const { Cell::new(Clock::UNKNOWN) };
}

/// The level of the present subtransaction, whose end will be heard.
fn level<T>(act: impl FnOnce(&mut Level) -> T) -> T {
    let subtransaction = map::follow_transaction();
    LOG.with_borrow_mut(|log| act(log.level(subtransaction)))
}

/// Wakes workers when this transaction commits: a job of this kind can be claimed. Channel `nebula_job`.
///
/// `first` is the place of the first such job; `None` when nothing new lies further ahead.
pub(crate) fn job_available(kind: &str, first: Option<Key>) -> Result<()> {
    static NOTIFY: Plan = Plan::new("SELECT pg_notify('nebula_job', $1)");
    let Some(slot) = slot(kind) else {
        return as_owner(|| NOTIFY.run(&[kind.into()]));
    };
    let served = shared::serves(map::database());
    level(|level| level.note(Note { slot, wake: served, on_commit: first, on_abort: None }));
    if served { Ok(()) } else { as_owner(|| NOTIFY.run(&[kind.into()])) }
}

/// Says that jobs from `first` on were claimed or locked: they can be claimed again if this transaction is rolled back,
/// and if they were only locked, also if it commits.
pub(crate) fn job_hidden(kind: &str, first: Key, only_locked: bool) {
    if let Some(slot) = slot(kind) {
        let on_commit = only_locked.then_some(first);
        level(|level| level.note(Note { slot, wake: false, on_commit, on_abort: Some(first) }));
    }
}

/// Tells watchers, when this transaction commits, what happened to a job. Channel `nebula_event`.
pub(crate) fn job_event(project: Option<Uuid>, job: i64, action: Action) -> Result<()> {
    static NOTIFY: Plan = Plan::new("SELECT nebula.notify_event($1, 'job', $2, $3)");
    if shared::serves(map::database()) {
        let project = project.map(|project| *project.as_bytes());
        level(|level| level.event(Event { project, job, action }));
        Ok(())
    } else {
        as_owner(|| NOTIFY.run(&[project.into(), job.to_string().into(), action.as_str().into()]))
    }
}

/// Tells watchers, when this transaction commits, that more happened than is told one by one.
pub(crate) fn many_events() -> Result<()> {
    static NOTIFY: Plan = Plan::new("SELECT nebula.notify_event(NULL, 'job', '', 'reset')");
    if shared::serves(map::database()) {
        level(|level| level.events.overrun());
        Ok(())
    } else {
        NOTIFY.run(&[])
    }
}

/// The slot of a kind; `None` without shared memory, or when all are taken.
fn slot(kind: &str) -> Option<usize> {
    SLOTS.with_borrow_mut(|known| {
        if let Some(slot) = known.get(kind) {
            return Some(*slot);
        }
        let slot = shared::with(|state| state.slot(map::database(), kind, map::clock())).flatten()?;
        known.insert(kind.to_owned(), slot);
        Some(slot)
    })
}

/// Where a claim of this kind begins; call it before the claim takes its snapshot.
pub(crate) fn begin_claim(kind: &str) -> Option<Start> {
    let slot = slot(kind)?;
    let now = map::clock();
    shared::with(|state| begin(state, slot, now)).flatten()
}

/// The same, and what it is time to look for: at one look at shared memory, which all sessions want at once.
pub(crate) fn begin_claim_in_time(kind: &str) -> (Come, Option<Start>) {
    let Some(slot) = slot(kind) else { return (what_has_come(), None) };
    let (database, now) = (map::database(), map::clock());
    let (come, start) = shared::with(|state| {
        let come = state.clock(database).map(|clock| clock.take(now));
        (come, begin(state, slot, now))
    })
    .unwrap_or_default();
    (come.unwrap_or_else(what_has_come), start)
}

fn begin(state: &mut State, slot: usize, now: i64) -> Option<Start> {
    let mut start = state.head(slot)?.begin(now);
    // What this transaction enqueued nobody else can claim yet, so only here it counts.
    if let Some(own) = LOG.with_borrow(|log| log.first(slot)) {
        start.key = start.key.min(own);
    }
    Some(start)
}

/// A claim that began there found nothing before `reached`, and saw jobs up to places ahead of what it took. The first lease
/// of what it took ends at `lease`.
pub(crate) fn end_claim(kind: &str, start: Start, reached: Key, ahead: &[Key], lease: Option<i64>) {
    let (database, now) = (map::database(), map::clock());
    let Some(slot) = slot(kind) else { return };
    let earlier = shared::with(|state| {
        if let Some(head) = state.head(slot) {
            head.advance(start, reached, now);
            if !ahead.is_empty() {
                head.look_ahead(ahead);
            }
        }
        lease.zip(state.clock(database)).map(|(at, clock)| clock.lease.expect(at))
    });
    match earlier.flatten() {
        Some(true) => shared::ring(),
        Some(false) => {}
        None => lease.into_iter().for_each(expect_lease),
    }
}

/// A lease ends at this time.
pub(crate) fn expect_lease(at: i64) {
    expect(|clock| &mut clock.lease, at);
}

/// The next claim of this kind begins at the very start.
pub(crate) fn forget_head(kind: &str) {
    let now = map::clock();
    if let Some(slot) = slot(kind) {
        shared::with(|state| state.head(slot).map(|head| head.appear(Key::FIRST, now)));
    }
}

/// One of the alarms of this database.
pub(crate) type Which = fn(&mut Clock) -> &mut Alarm;

/// Whether it is time to look for what this alarm stands for.
fn has_come(which: Which) -> bool {
    let now = map::clock();
    with_clock(|clock| which(clock).has_come(now))
}

/// All alarms at one look; whoever is told that it is time looks.
pub(crate) fn what_has_come() -> Come {
    let now = map::clock();
    with_clock(|clock| clock.take(now))
}

/// Something is expected at this time, in PostgreSQL's microseconds, whether or not this transaction commits.
pub(crate) fn expect(which: Which, at: i64) {
    if with_clock(|clock| which(clock).expect(at)) {
        shared::ring();
    }
}

/// A waiting job becomes due at this time if this transaction commits.
pub(crate) fn expect_due(at: i64) {
    level(|level| level.due(at));
    expect(|clock| &mut clock.due, at);
}

/// This transaction looked and dealt with what it found; the next is expected at this time.
pub(crate) fn looked(which: Which, next: Option<i64>) {
    level(|level| level.moved_clocks = true);
    let now = map::clock();
    let patience = if shared::present() { PATIENCE.0 } else { PATIENCE.1 };
    with_clock(|clock| which(clock).looked(next, now, patience));
}

fn with_clock<T>(act: impl Fn(&mut Clock) -> T) -> T {
    let database = map::database();
    let shared = shared::with(|state| state.clock(database).map(&act)).flatten();
    shared.unwrap_or_else(|| {
        let mut clock = CLOCK.get();
        let result = act(&mut clock);
        CLOCK.set(clock);
        result
    })
}

/// The transaction committed and can be seen. Nothing here may fail.
pub(crate) fn committed() {
    if let Some(said) = LOG.with_borrow_mut(Log::finish) {
        let (database, now) = (map::database(), map::clock());
        let news = shared::with(|state| state.committed(database, &said, now));
        if news == Some(true) {
            shared::ring();
        }
    }
}

/// The transaction was rolled back.
pub(crate) fn aborted() {
    if let Some(said) = LOG.with_borrow_mut(Log::finish) {
        undo(&said);
    }
}

/// The transaction was prepared under this number.
pub(crate) fn prepared(transaction: u32) {
    if let Some(said) = LOG.with_borrow_mut(Log::finish)
        && shared::with(|state| state.prepared(transaction, &said)) == Some(true)
    {
        shared::ring();
    }
}

/// A subtransaction was committed into its parent.
pub(crate) fn sub_committed(subtransaction: u32, parent: u32) {
    LOG.with_borrow_mut(|log| {
        if !log.is_empty() {
            log.reparent(subtransaction, parent);
        }
    });
}

/// A subtransaction was rolled back.
pub(crate) fn sub_aborted(subtransaction: u32) {
    if let Some(said) = LOG.with_borrow_mut(|log| log.undo(subtransaction)) {
        undo(&said);
    }
}

fn undo(said: &Level) {
    let (database, now) = (map::database(), map::clock());
    match shared::with(|state| state.undone(database, said, now)) {
        Some(true) => shared::ring(),
        Some(false) => {}
        None if said.moved_clocks => CLOCK.set(Clock::UNKNOWN),
        None => {}
    }
}
