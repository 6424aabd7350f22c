//! Ends a test server that warns of a leaked resource.
//!
//! At the end of a statement or subtransaction the server releases what was left open or pinned there, and
//! warns of it. Such a warning in any test is a defect of this extension, so it must not pass unnoticed in
//! the log.
#![expect(unsafe_code, reason = "hooks of the server are C functions")]

use std::ffi::CStr;

use pgrx::prelude::*;

/// Registers the check for this process and those that it starts; called once, by `_PG_init`.
pub(crate) fn install() {
    static mut NEXT: pg_sys::emit_log_hook_type = None;

    #[pg_guard]
    unsafe extern "C-unwind" fn on_log(error: *mut pg_sys::ErrorData) {
        // SAFETY: the server passes a valid report; processes are single threads.
        unsafe {
            let message = (*error).message;
            if (*error).elevel == PgLogLevel::WARNING as i32
                && !message.is_null()
                && is_leak(&CStr::from_ptr(message).to_string_lossy())
            {
                eprintln!("{}", CStr::from_ptr(message).to_string_lossy());
                std::process::abort();
            }
            if let Some(next) = NEXT {
                next(error);
            }
        }
    }

    // SAFETY: a process is a single thread while it loads libraries.
    unsafe {
        NEXT = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(on_log);
    }
}

/// Since 17: "resource was not closed: …"; before: "… leak: … not closed".
fn is_leak(message: &str) -> bool {
    message.contains("was not closed") || message.contains("leak")
}
