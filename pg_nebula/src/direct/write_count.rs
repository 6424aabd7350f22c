//! Counts direct writes, so that the conformance tests see which implementation has run.

use std::cell::Cell;

thread_local! {
    static WRITES: Cell<u64> = const { Cell::new(0) };
}

/// How many writes below SQL this session has begun.
pub(crate) fn get() -> u64 {
    WRITES.get()
}

pub(super) fn increment() {
    WRITES.set(WRITES.get() + 1);
}
