//! Random numbers of the session.
#![expect(unsafe_code, reason = "a function of the server is called as SQL would call it")]

use pgrx::{direct_function_call, pg_sys};

/// `random()` of SQL.
pub(crate) fn random() -> f64 {
    // SAFETY: the function takes no argument and returns a double precision.
    unsafe { direct_function_call(pg_sys::drandom, &[]) }.unwrap_or(1.0)
}
