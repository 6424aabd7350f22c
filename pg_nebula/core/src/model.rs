//! Runs model tests: loom executes them under every interleaving of their threads that has at most three
//! preemptions. `LOOM_MAX_PREEMPTIONS` raises that bound.

pub(crate) use loom::sync::Arc;
pub(crate) use loom::thread;

pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}
