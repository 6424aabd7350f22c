//! Running with other privileges and settings for a while, as SECURITY DEFINER and SET of a function do.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::catalog;
use super::error::Result;

/// Does something with the privileges of another role, as PostgreSQL itself does for foreign keys: what triggers of a
/// table run must not have more than the table's owner has.
#[expect(unsafe_code, reason = "two C functions that read and write two variables of the session")]
pub(crate) fn as_role<T>(role: pg_sys::Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Restore(pg_sys::Oid, i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: what was in force before; on an error the server restores it too.
            unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
        }
    }
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: both pointers are to locals; the role is a table's owner, so it exists.
    let _restore = unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
        pg_sys::SetUserIdAndSecContext(role, context | flags.cast_signed());
        Restore(user, context)
    };
    work()
}

/// Does something with the privileges of the extension's owner and the search path of its functions, as SECURITY
/// DEFINER would. Functions that seldom need it do without the price of that in every call.
pub(crate) fn as_owner<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    as_role(catalog::owner()?, || with_settings(&[(c"search_path", c"nebula, pg_temp")], work))
}

/// The same for statements that must go by an index whatever the table looks like when they are planned: a plan that is
/// kept must not have been made for an empty table, and what is switched off only looks expensive to a compiler.
pub(crate) fn as_owner_by_index<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    const BY_INDEX: [(&CStr, &CStr); 4] = [
        (c"enable_seqscan", c"off"),
        (c"enable_bitmapscan", c"off"),
        (c"jit", c"off"),
        (c"plan_cache_mode", c"force_generic_plan"),
    ];
    as_owner(|| with_settings(&BY_INDEX, work))
}

/// Does something with other settings, as SET of a function would.
#[expect(unsafe_code, reason = "settings are changed for a while by C functions")]
fn with_settings<T>(settings: &[(&CStr, &CStr)], work: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Restore(i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                // SAFETY: the level begun below; after an error the abort ends it.
                unsafe { pg_sys::AtEOXact_GUC(true, self.0) };
            }
        }
    }
    // SAFETY: inside a transaction.
    let _restore = Restore(unsafe { pg_sys::NewGUCNestLevel() });
    for (name, value) in settings {
        // SAFETY: inside a transaction; both strings are valid.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
        }
    }
    work()
}
