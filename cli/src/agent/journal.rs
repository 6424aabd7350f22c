//! What the agent logs: lines on standard error, which a service manager keeps in its journal.

use std::io::{Write, stderr};

/// Logs one line.
pub(super) fn log(text: &str) {
    // Nothing can be done when standard error is closed.
    let _ = writeln!(stderr(), "nebulactl agent: {}", crate::output::clean(text));
}
