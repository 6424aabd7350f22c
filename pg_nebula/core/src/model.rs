//! Runs model tests: loom executes them under every interleaving of their threads with a limited number of
//! preemptions, which are switches away from a thread that could go on. `LOOM_MAX_PREEMPTIONS` sets another limit.

pub(crate) use loom::sync::Arc;
pub(crate) use loom::thread;

/// Enough for every fault that was put into the code on purpose, except where a test says otherwise.
const MAX_PREEMPTIONS: usize = 3;

pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    explore_with(MAX_PREEMPTIONS, model);
}

pub(crate) fn explore_with(max_preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(max_preemptions));
    builder.check(model);
}
