//! Running a closure with other privileges and settings, as SECURITY DEFINER and SET do for a function.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::catalog;
use super::error::Result;

/// Runs `work` with the privileges of another role, as PostgreSQL does for the statements of foreign keys.
#[expect(unsafe_code, reason = "the current user is a variable of the server")]
pub(crate) fn as_role<T>(role: pg_sys::Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Restore(pg_sys::Oid, i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: both values were in force before. On an error the server restores them too.
            unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
        }
    }
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: both pointers are to locals; the role owns a table, so it exists.
    let _restore = unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let flags = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS;
        pg_sys::SetUserIdAndSecContext(role, context | flags.cast_signed());
        Restore(user, context)
    };
    work()
}

/// Whether the role that is logged in is the owner of the extension's tables, has that role, or is a superuser.
#[expect(unsafe_code, reason = "roles are looked up in the server's caches")]
pub(crate) fn session_is_owner() -> Result<bool> {
    let owner = catalog::owner()?;
    // SAFETY: inside a transaction; both roles exist.
    Ok(unsafe { pg_sys::has_privs_of_role(pg_sys::GetSessionUserId(), owner) })
}

/// Runs `work` with the privileges of the extension's owner and the search path of its functions. For
/// functions that seldom need them: SECURITY DEFINER and SET cost something in each call.
pub(crate) fn as_owner<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // A function of the extension that calls this one has set the search path already.
    let is_set = is_search_path(SEARCH_PATH);
    as_role(catalog::owner()?, || {
        if is_set { work() } else { with_settings(&[(c"search_path", SEARCH_PATH)], work) }
    })
}

/// The search path of all functions of the extension.
const SEARCH_PATH: &CStr = c"nebula, pg_temp";

#[expect(unsafe_code, reason = "the search path is a variable of the server")]
fn is_search_path(path: &CStr) -> bool {
    // SAFETY: the variable of a text setting is null or a string that ends with a zero byte.
    unsafe {
        let current = pg_sys::namespace_search_path;
        !current.is_null() && CStr::from_ptr(current) == path
    }
}

/// [`as_owner`] for statements that must use an index whatever the statistics of the table are: prepared
/// statements keep their plans, and a plan for an empty table reads all of it. Scans that are switched off
/// get a high cost, which would invite the JIT compiler.
pub(crate) fn as_owner_by_index<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    const BY_INDEX: [(&CStr, &CStr); 4] = [
        (c"enable_seqscan", c"off"),
        (c"enable_bitmapscan", c"off"),
        (c"jit", c"off"),
        (c"plan_cache_mode", c"force_generic_plan"),
    ];
    as_owner(|| with_settings(&BY_INDEX, work))
}

/// Runs `work` with other settings.
#[expect(unsafe_code, reason = "levels of settings are a C interface")]
fn with_settings<T>(settings: &[(&CStr, &CStr)], work: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Restore(i32);
    impl Drop for Restore {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                // SAFETY: ends the level begun below. After an error the abort of the transaction ends it.
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
