//! Limits of arguments: bytes of texts, as `nebula.text_limit` says for functions in SQL, and lengths of time.

use pgrx::prelude::Interval;

use super::datum::timestamp::microseconds;
use super::error::{Error, Result};

/// Bytes of the name of who did something.
pub(crate) const ACTOR: usize = 200;
/// Bytes of the name of a worker.
pub(crate) const WORKER: usize = 200;
/// Bytes of a cron expression.
pub(crate) const CRON: usize = 200;
/// Bytes of what a failed attempt says; the rest is cut, because refusing it would keep the job running.
pub(crate) const FAILURE: usize = 10_000;

/// 100 years, where a month counts as 30 days: longer than anybody plans ahead, and far from the last date that
/// PostgreSQL has.
const LONGEST: i128 = 100 * 12 * 30 * 86_400_000_000;

/// Refuses a text that is longer than `limit` bytes.
pub(crate) fn check_text(argument: &str, text: Option<&str>, limit: usize) -> Result<()> {
    match text.map(str::len).filter(|length| *length > limit) {
        None => Ok(()),
        Some(length) => Err(Error::bad_argument(
            format!("{argument} has {length} bytes"),
            format!("Give a text of at most {limit} bytes."),
        )),
    }
}

/// Refuses a length of time that is not longer than zero, or longer than 100 years.
pub(crate) fn check_span(argument: &str, span: Interval, example: &str) -> Result<()> {
    match microseconds(span) {
        ..=0 => Err(Error::bad_argument(
            format!("{argument} must be longer than zero"),
            format!("For example interval '{example}'."),
        )),
        1..=LONGEST => Ok(()),
        _ => Err(Error::bad_argument(
            format!("{argument} must not be longer than 100 years"),
            format!("For example interval '{example}'."),
        )),
    }
}

/// The text, cut to what is kept of a failure.
pub(crate) fn cut_failure(text: &str) -> &str {
    &text[..text.floor_char_boundary(FAILURE)]
}
