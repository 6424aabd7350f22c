//! Notifications of workers and watchers about jobs.
//!
//! NOTIFY takes a lock until the transaction has committed, so that all commits of a database wait for each
//! other. When the extension is in `shared_preload_libraries`, a transaction therefore only records its
//! notifications ([`pending`]). After it has committed and its rows are visible, they go to shared memory
//! ([`shared`]), and the notifier process ([`process`]) sends them, in at most one round of NOTIFY in 5 ms.
//! Without preload, or in a database that this process is not connected to, each transaction runs NOTIFY
//! itself. Receivers treat a notification as a hint and query.
//!
//! The same shared memory holds hints for claims: where to start to scan ([`scan`]) and when something
//! becomes due ([`timers`]).

pub(crate) mod node;
mod pending;
mod process;
pub(crate) mod scan;
mod shared;
mod timer_store;
pub(crate) mod timers;

use std::cell::RefCell;
use std::collections::HashMap;

use nebula_core::job_event::{JobAction, JobEvent};
use nebula_core::pending_jobs::KindChange;
use nebula_core::scan_hint::QueuePosition;
use pgrx::Uuid;

pub(crate) use pending::LISTENER as TRANSACTION_LISTENER;
use pending::with_frame;

use crate::pg::error::Result;
use crate::pg::privilege::as_owner;
use crate::pg::session;
use crate::pg::shmem::Region;
use crate::pg::statement::Statement;

/// The region of shared memory that holds the queue's hints.
pub(crate) const REGION: &Region = &shared::REGION;

/// Stands for all kinds in a notification.
pub(crate) const ANY_KIND: &str = "";

/// Wakes workers when this transaction commits: a job of this kind became available. Channel `nebula_job`.
///
/// `first` is the position of the first such job, where the next scan must start; `None` if no scan has to
/// start earlier.
pub(crate) fn job_available(kind: &str, first: Option<QueuePosition>) -> Result<()> {
    static NOTIFY: Statement = Statement::new("SELECT pg_notify('nebula_job', $1)");
    let Some(slot) = slot_of(kind) else {
        return as_owner(|| NOTIFY.run(&[kind.into()]));
    };
    let served = shared::notifier_serves(session::database());
    with_frame(|frame| {
        frame.merge(KindChange {
            slot,
            wake_workers: served,
            available_on_commit: first,
            available_on_abort: None,
        })
    });
    if served { Ok(()) } else { as_owner(|| NOTIFY.run(&[kind.into()])) }
}

/// Records that jobs from `first` on are claimed or locked by this transaction, so that scans begin there
/// again when it is rolled back, and if the jobs are only locked, also when it commits.
pub(crate) fn note_hidden(kind: &str, first: QueuePosition, only_locked: bool) {
    if let Some(slot) = slot_of(kind) {
        let available_on_commit = only_locked.then_some(first);
        with_frame(|frame| {
            frame.merge(KindChange {
                slot,
                wake_workers: false,
                available_on_commit,
                available_on_abort: Some(first),
            })
        });
    }
}

/// Notifies watchers, when this transaction commits, of what happened to a job. Channel `nebula_event`.
pub(crate) fn job_event(project: Option<Uuid>, job: i64, action: JobAction) -> Result<()> {
    static NOTIFY: Statement = Statement::new("SELECT nebula.notify_event($1, 'job', $2, $3)");
    if shared::notifier_serves(session::database()) {
        let project = project.map(|project| *project.as_bytes());
        with_frame(|frame| frame.push_event(JobEvent { project, job, action }));
        Ok(())
    } else {
        as_owner(|| NOTIFY.run(&[project.into(), job.to_string().into(), action.as_str().into()]))
    }
}

/// Asks watchers, when this transaction commits, to read the list of jobs again, instead of one event for
/// each of many jobs.
pub(crate) fn many_events() -> Result<()> {
    static NOTIFY: Statement = Statement::new("SELECT nebula.notify_event(NULL, 'job', '', 'reset')");
    if shared::notifier_serves(session::database()) {
        with_frame(|frame| frame.events.overflow());
        Ok(())
    } else {
        as_owner(|| NOTIFY.run(&[]))
    }
}

/// The slot of a kind in shared memory; `None` without preload, or when all slots are taken.
fn slot_of(kind: &str) -> Option<usize> {
    thread_local! {
        /// Never out of date: a kind keeps its slot until the server stops.
        static SLOTS: RefCell<HashMap<String, usize>> = RefCell::new(HashMap::new());
    }
    SLOTS.with_borrow_mut(|known| {
        if let Some(slot) = known.get(kind) {
            return Some(*slot);
        }
        let now = session::clock();
        let slot = shared::with(|state| state.slot(session::database(), kind, now)).flatten()?;
        known.insert(kind.to_owned(), slot);
        Some(slot)
    })
}
