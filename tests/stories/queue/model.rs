//! No wake-up is lost: every interleaving of the steps by which a job reaches a sleeping worker.
//!
//! Nobody polls here, so that the wake-up alone must do. What is held to be necessary is left out once, and the search
//! then finds the interleaving that loses a wake-up.

use std::collections::HashSet;

/// How the parts are built; [`Design::built`] is how they are.
#[derive(Clone, Copy, Debug)]
struct Design {
    /// A commit marks its kind and the background worker notifies; otherwise the commit itself notifies.
    preloaded: bool,
    /// The worker listens before it looks for the first time.
    listens_first: bool,
    /// The mark is set once others can see the job.
    marks_after_commit: bool,
    /// The background worker takes the mark away before it notifies.
    clears_first: bool,
    /// A notification that arrives while the worker looks is kept for its next sleep.
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
    /// One half of commit and mark is done, whichever comes first.
    Half,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Notifier {
    Idle,
    /// Has seen a mark; the other half of clearing and notifying is left.
    Half,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Worker {
    /// Neither of listening and looking is done.
    Fresh,
    /// The first of the two is done.
    Ready,
    /// About to take its snapshot.
    Looking,
    /// Saw nothing, and is about to sleep.
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

    /// Every state one step further.
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
                // Aborted: neither half happens.
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
            // A worker that finds a job looks again after it; one that finds nothing goes to sleep.
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

/// Searches every interleaving: how many states there are, and the first in which a job waits, all workers sleep and
/// nothing will ever happen again.
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
