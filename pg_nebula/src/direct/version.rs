//! Differences between the major versions of PostgreSQL, all in this file.
#![expect(unsafe_code, reason = "these are C interfaces")]

use pgrx::prelude::*;

/// Descriptions of a table's columns, dropped ones included.
///
/// # Safety
/// The descriptor stays valid for the lifetime that the caller chooses.
pub(super) unsafe fn attributes<'a>(descriptor: pg_sys::TupleDesc) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: as the caller promises; a descriptor has `natts` descriptions. Since 18 they follow an array of
    // as many short ones.
    unsafe {
        let count = usize::try_from((*descriptor).natts).unwrap_or(0);
        #[cfg(not(feature = "pg18"))]
        return (*descriptor).attrs.as_slice(count);
        #[cfg(feature = "pg18")]
        std::slice::from_raw_parts((*descriptor).compact_attrs.as_ptr().add(count).cast(), count)
    }
}

/// Begins an index scan with `count` keys, which `index_rescan` then sets.
///
/// # Safety
/// Both relations are open, the index belongs to the table, and the snapshot stays registered during the
/// scan.
pub(super) unsafe fn begin_index_scan(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    count: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: as the caller promises. Since 18 EXPLAIN ANALYZE can have searches counted; nobody asks for
    // that here.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(table, index, snapshot, count, 0);
        #[cfg(feature = "pg18")]
        pg_sys::index_beginscan(table, index, snapshot, std::ptr::null_mut(), count, 0)
    }
}

/// Releases what the access method kept in `ii_AmCache` between calls of `index_insert`. Since 17 BRIN keeps
/// buffers pinned there; before 17 no access method keeps more than memory, which goes with `ii_Context`.
///
/// # Safety
/// The index is open, and `info` was passed to `index_insert` for it.
pub(super) unsafe fn end_index_inserts(index: pg_sys::Relation, info: *mut pg_sys::IndexInfo) {
    // SAFETY: as the caller promises.
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    unsafe {
        pg_sys::index_insert_cleanup(index, info);
    }
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    let _ = (index, info);
}

/// Whether new rows have to meet a CHECK constraint: since 18 it may be NOT ENFORCED.
pub(super) fn is_enforced(check: &pg_sys::ConstrCheck) -> bool {
    #[cfg(feature = "pg18")]
    return check.ccenforced;
    #[cfg(not(feature = "pg18"))]
    {
        let _ = check;
        true
    }
}

/// Answer of `table_tuple_update`: which indexes need an entry for the new version of the row. Since 16
/// summarizing indexes (BRIN) may need one although the others do not.
#[cfg(feature = "pg15")]
pub(super) type NewEntries = bool;
#[cfg(not(feature = "pg15"))]
pub(super) type NewEntries = pg_sys::TU_UpdateIndexes::Type;

/// Whether the index described by `info` needs an entry for the new version of a row.
pub(super) fn needs_entry(info: &pg_sys::IndexInfo, entries: NewEntries) -> bool {
    #[cfg(feature = "pg15")]
    {
        let _ = info;
        entries
    }
    #[cfg(not(feature = "pg15"))]
    {
        use pg_sys::TU_UpdateIndexes::{TU_All, TU_Summarizing};
        entries == TU_All || entries == TU_Summarizing && info.ii_Summarizing
    }
}
