//! The agent's log: lines on standard error, which a service manager stores in its journal.

use std::io::{Write, stderr};

pub(super) fn log(text: &str) {
    // If standard error is closed, the line is lost.
    let _ = writeln!(stderr(), "nebulactl agent: {}", crate::output::clean(text));
}
