//! No wake-up is lost: a search over every interleaving of the steps by which a job reaches a sleeping
//! worker.
//!
//! The model has no polling, so the wake-up alone must suffice. Each part of the design is left out once, and
//! the search then finds an interleaving that loses a wake-up.

use std::collections::HashSet;

/// Variants of the design; [`Design::built`] is the one that is implemented.
#[derive(Clone, Copy, Debug)]
struct Design {
    /// A commit sets a mark for its kind and the background worker notifies; otherwise the commit itself
    /// notifies.
    preloaded: bool,
    /// The worker listens before it claims for the first time.
    listens_first: bool,
    /// The mark is set after the job has become visible to others.
    marks_after_commit: bool,
    /// The background worker clears the mark before it notifies.
    clears_first: bool,
    /// A notification that arrives while the worker claims is kept for its next sleep.
    keeps_notice: bool,
}

impl Design {
    fn built(preloaded: bool) -> Self {
        Self {
            preloaded,
            listens_first: true,
            marks_after_commit: true,
            clears_first: true,
            keeps_notice: true,
        }
    }
}

const ENQUEUERS: usize = 2;
const WORKERS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Enqueuer {
    Begun,
    Inserted,
    /// The first of commit and mark is done.
    Half,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Notifier {
    Idle,
    /// Has seen a mark; the second of clearing and notifying is left.
    Half,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Worker {
    /// Neither listens nor has claimed yet.
    Fresh,
    /// Has done the first of listening and claiming.
    Ready,
    /// About to take the snapshot of its claim.
    Looking,
    /// Found no job, and is about to sleep.
    Empty,
    Asleep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    enqueuers: [Enqueuer; ENQUEUERS],
    notifier: Notifier,
    workers: [Worker; WORKERS],
    listening: [bool; WORKERS],
    noticed: [bool; WORKERS],
    marked: bool,
    /// Jobs that can be claimed.
    visible: u8,
}

impl State {
    const START: Self = Self {
        enqueuers: [Enqueuer::Begun; ENQUEUERS],
        notifier: Notifier::Idle,
        workers: [Worker::Fresh; WORKERS],
        listening: [false; WORKERS],
        noticed: [false; WORKERS],
        marked: false,
        visible: 0,
    };

    /// The states that follow by one step.
    fn next(self, design: Design) -> Vec<Self> {
        let mut found = Vec::new();
        for who in 0..ENQUEUERS {
            self.enqueue(design, who, &mut found);
        }
        if design.preloaded {
            self.notify(design, &mut found);
        }
        for who in 0..WORKERS {
            self.work(design, who, &mut found);
        }
        found
    }

    fn enqueue(self, design: Design, who: usize, found: &mut Vec<Self>) {
        let to = |step| {
            let mut next = self;
            next.enqueuers[who] = step;
            next
        };
        match (self.enqueuers[who], design.preloaded) {
            (Enqueuer::Begun, _) => found.push(to(Enqueuer::Inserted)),
            (Enqueuer::Inserted, false) => {
                found.push(to(Enqueuer::Done));
                // PostgreSQL makes the job visible and delivers in one step, as far as listeners can tell.
                found.push(to(Enqueuer::Done).committed().delivered(design));
            }
            (Enqueuer::Inserted, true) => {
                // Aborted: neither the commit nor the mark happens.
                found.push(to(Enqueuer::Done));
                let half = to(Enqueuer::Half);
                found.push(if design.marks_after_commit { half.committed() } else { half.marked() });
            }
            (Enqueuer::Half, _) => {
                let done = to(Enqueuer::Done);
                found.push(if design.marks_after_commit { done.marked() } else { done.committed() });
            }
            (Enqueuer::Done, _) => {}
        }
    }

    fn notify(self, design: Design, found: &mut Vec<Self>) {
        let (step, mut next) = (self.notifier, self);
        match step {
            Notifier::Idle if self.marked => next.notifier = Notifier::Half,
            Notifier::Idle => return,
            Notifier::Half => next.notifier = Notifier::Idle,
        }
        let clears = (step == Notifier::Idle) == design.clears_first;
        next.marked &= !clears;
        found.push(if clears { next } else { next.delivered(design) });
    }

    fn work(self, design: Design, who: usize, found: &mut Vec<Self>) {
        let mut next = self;
        match self.workers[who] {
            Worker::Fresh if design.listens_first => {
                next.listening[who] = true;
                next.workers[who] = Worker::Ready;
            }
            Worker::Fresh => {
                next.workers[who] = if self.visible > 0 { next.take(Worker::Fresh) } else { Worker::Ready };
            }
            Worker::Ready if design.listens_first => next.workers[who] = Worker::Looking,
            Worker::Ready => {
                next.listening[who] = true;
                next.workers[who] = Worker::Asleep;
            }
            // A worker that finds a job claims again after it; one that finds none goes to sleep.
            Worker::Looking if self.visible > 0 => next.workers[who] = next.take(Worker::Looking),
            Worker::Looking => next.workers[who] = Worker::Empty,
            Worker::Empty => next.workers[who] = Worker::Asleep,
            Worker::Asleep if self.noticed[who] => {
                next.noticed[who] = false;
                next.workers[who] = Worker::Looking;
            }
            Worker::Asleep => return,
        }
        found.push(next);
    }

    fn take(&mut self, then: Worker) -> Worker {
        self.visible -= 1;
        then
    }

    fn committed(mut self) -> Self {
        self.visible += 1;
        self
    }

    fn marked(mut self) -> Self {
        self.marked = true;
        self
    }

    fn delivered(mut self, design: Design) -> Self {
        for who in 0..WORKERS {
            let can_hear = design.keeps_notice || self.workers[who] == Worker::Asleep;
            self.noticed[who] |= self.listening[who] && can_hear;
        }
        self
    }
}

/// Searches every interleaving; answers the number of states and the first deadlock: a job waits, all workers
/// sleep, and no further step is possible.
fn explore(design: Design) -> (usize, Option<State>) {
    let mut seen = HashSet::from([State::START]);
    let mut frontier = vec![State::START];
    while let Some(state) = frontier.pop() {
        let next = state.next(design);
        if next.is_empty() && state.visible > 0 {
            return (seen.len(), Some(state));
        }
        frontier.extend(next.into_iter().filter(|state| seen.insert(*state)));
    }
    (seen.len(), None)
}

#[test]
fn no_interleaving_loses_a_wake_up() {
    for preloaded in [true, false] {
        let (states, lost) = explore(Design::built(preloaded));
        assert_eq!(lost, None, "preloaded {preloaded}");
        assert!(states > 200, "only {states} states: this explores nothing");
    }
}

#[test]
fn each_part_of_the_design_is_needed() {
    type Change = fn(&mut Design);
    let parts: [(&str, bool, Change); 6] = [
        ("looking before listening", true, |design| design.listens_first = false),
        ("looking before listening", false, |design| design.listens_first = false),
        ("marking before the commit", true, |design| design.marks_after_commit = false),
        ("clearing after notifying", true, |design| design.clears_first = false),
        ("forgetting what comes while looking", true, |design| design.keeps_notice = false),
        ("forgetting what comes while looking", false, |design| design.keeps_notice = false),
    ];
    for (what, preloaded, change) in parts {
        let mut design = Design::built(preloaded);
        change(&mut design);
        let (_, lost) = explore(design);
        assert!(lost.is_some(), "{what} (preloaded {preloaded}) should lose a wake-up");
    }
}
