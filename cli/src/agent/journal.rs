//! The agent's log: lines on standard error, which a service manager stores in its journal.

use std::io::{Write, stderr};

use crate::error::Error;

pub(super) fn log(text: &str) {
    // If standard error is closed, the line is lost.
    let _ = writeln!(stderr(), "nebulactl agent: {}", crate::output::clean(text));
}

/// Logs an error with its hint.
pub(super) fn log_error(error: &Error) {
    let hint = error.failure().hint.as_deref().unwrap_or_default();
    log(format!("{}. {hint}", error.to_string().trim_end_matches('.')).trim_end());
}
