//! Changes of jobs by a transaction, passed on to [`QueueState`](crate::queue_state::QueueState) when it
//! ends.
//!
//! Changes are merged as they come, one for each kind, so that a transaction which enqueues a million jobs
//! keeps a few lines. Each subtransaction has a frame of its own, because it may be rolled back alone.

use crate::job_event::{JobEvent, JobEvents};
use crate::scan_hint::QueuePosition;

/// The pending change of one kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindChange {
    /// Slot of the kind in the queue state.
    pub slot: usize,
    /// Workers are to be woken at commit.
    pub wake_workers: bool,
    /// Lowest position that becomes available at commit.
    pub available_on_commit: Option<QueuePosition>,
    /// Lowest position that becomes available at rollback.
    pub available_on_abort: Option<QueuePosition>,
}

/// The pending changes of one subtransaction.
#[derive(Debug, Default)]
pub struct SubtransactionFrame {
    subtransaction: u32,
    /// At most one for each kind.
    pub kinds: Vec<KindChange>,
    /// Earliest time at which an enqueued job becomes due, in PostgreSQL's microseconds.
    pub next_due: Option<i64>,
    /// Shared timers were moved to a later time, which is wrong if the frame is rolled back.
    pub rescheduled: bool,
    /// Events for watchers at commit.
    pub events: JobEvents,
    /// Nodes whose agents are to be woken at commit, each once.
    pub nodes: Vec<NodeId>,
}

/// `nebula.node.node_id`.
pub type NodeId = [u8; 16];

impl SubtransactionFrame {
    /// Adds a change to those of its kind.
    pub fn merge(&mut self, new: KindChange) {
        match self.kinds.iter_mut().find(|change| change.slot == new.slot) {
            Some(change) => {
                change.wake_workers |= new.wake_workers;
                change.available_on_commit = lower(change.available_on_commit, new.available_on_commit);
                change.available_on_abort = lower(change.available_on_abort, new.available_on_abort);
            }
            None => self.kinds.push(new),
        }
    }

    /// Adds a job that becomes due later.
    pub fn add_due(&mut self, at: i64) {
        self.next_due = lower(self.next_due, Some(at));
    }

    /// Adds an event for watchers.
    pub fn push_event(&mut self, event: JobEvent) {
        self.events.push(event);
    }

    /// Adds a node whose agent is to be woken.
    pub fn add_node(&mut self, node: NodeId) {
        if !self.nodes.contains(&node) {
            self.nodes.push(node);
        }
    }

    fn absorb(&mut self, child: Self) {
        child.kinds.into_iter().for_each(|change| self.merge(change));
        self.next_due = lower(self.next_due, child.next_due);
        self.rescheduled |= child.rescheduled;
        self.events.append(child.events);
        child.nodes.into_iter().for_each(|node| self.add_node(node));
    }
}

/// The lower of two values, where `None` is no value.
fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}

/// The frames of a transaction, outermost first. Subtransactions without changes have none.
#[derive(Debug, Default)]
pub struct PendingJobs(Vec<SubtransactionFrame>);

impl PendingJobs {
    /// No changes.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The frame of the current subtransaction, added if need be.
    pub fn frame(&mut self, subtransaction: u32) -> &mut SubtransactionFrame {
        if self.0.last().is_none_or(|last| last.subtransaction != subtransaction) {
            self.0.push(SubtransactionFrame { subtransaction, ..SubtransactionFrame::default() });
        }
        self.0.last_mut().expect("pushed above")
    }

    /// A subtransaction was released: its changes become its parent's.
    pub fn reparent(&mut self, subtransaction: u32, parent: u32) {
        if let Some(child) = self.undo(subtransaction) {
            self.frame(parent).absorb(child);
        }
    }

    /// A subtransaction was rolled back: removes and returns its changes.
    pub fn undo(&mut self, subtransaction: u32) -> Option<SubtransactionFrame> {
        self.0.pop_if(|last| last.subtransaction == subtransaction)
    }

    /// The transaction ended: removes and returns all changes, merged.
    pub fn finish(&mut self) -> Option<SubtransactionFrame> {
        let mut frames = std::mem::take(&mut self.0).into_iter();
        let mut all = frames.next()?;
        frames.for_each(|frame| all.absorb(frame));
        Some(all)
    }

    /// Lowest position of a kind that only this transaction sees yet.
    pub fn first_enqueued(&self, slot: usize) -> Option<QueuePosition> {
        let changes = self.0.iter().flat_map(|frame| &frame.kinds);
        changes.filter(|change| change.slot == slot).filter_map(|change| change.available_on_commit).min()
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
