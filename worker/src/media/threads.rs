//! How many threads codecs use. One number for the process, since a media process does one task.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::available_parallelism;

/// Beyond so many processors an encoder gains nothing, and its threads would use up the address space of the process.
const MOST: usize = 16;

static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// Sets the number; 0 leaves it to the codecs, within bounds.
pub(super) fn choose(threads: usize) {
    CHOSEN.store(threads, Relaxed);
}

/// Threads of one decoder; 0: as many as there are processors.
pub(super) fn decoder() -> usize {
    bounded(CHOSEN.load(Relaxed), available_parallelism().map_or(1, usize::from))
}

/// Threads of one encoder, as its option.
pub(super) fn encoder() -> String {
    match decoder() {
        0 => "auto".to_owned(),
        threads => threads.to_string(),
    }
}

fn bounded(chosen: usize, processors: usize) -> usize {
    match chosen {
        0 if processors > MOST => MOST,
        chosen => chosen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_machines_get_no_more_threads_than_help() {
        assert_eq!([(0, 2), (0, 16), (0, 64), (4, 2), (4, 64)].map(|(c, p)| bounded(c, p)), [0, 0, 16, 4, 4]);
    }
}
