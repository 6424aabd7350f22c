//! A table's columns, as its tuple descriptor has them.
#![expect(unsafe_code, reason = "tuple descriptors are C structures")]

use std::ffi::CStr;

use pgrx::prelude::*;

use super::version;

/// Columns that are not dropped, with their indexes in the row.
///
/// # Safety
/// The descriptor stays valid while the iterator is used.
unsafe fn live_columns(
    descriptor: pg_sys::TupleDesc,
) -> impl Iterator<Item = (usize, &'static CStr, &'static pg_sys::FormData_pg_attribute)> {
    // SAFETY: as the caller promises; names end with a zero byte.
    unsafe {
        let attributes = version::attributes(descriptor).iter().enumerate();
        attributes
            .filter(|(_, attribute)| !attribute.attisdropped)
            .map(|(number, attribute)| (number, CStr::from_ptr(attribute.attname.data.as_ptr()), attribute))
    }
}

/// Indexes in the row of the columns with these names; `None` when one of them does not exist.
///
/// # Safety
/// The descriptor is valid.
pub(super) unsafe fn numbers(descriptor: pg_sys::TupleDesc, columns: &[&CStr]) -> Option<Vec<usize>> {
    // SAFETY: as the caller promises.
    let find = |column: &&CStr| unsafe { live_columns(descriptor) }.find(|(_, name, _)| name == column);
    columns.iter().map(|column| find(column).map(|(number, ..)| number)).collect()
}

/// Whether a column that is not in the list has a default or is an identity column.
///
/// # Safety
/// The descriptor is valid.
pub(super) unsafe fn need_defaults(descriptor: pg_sys::TupleDesc, columns: &[&CStr]) -> bool {
    // SAFETY: as the caller promises.
    unsafe { live_columns(descriptor) }.any(|(_, name, attribute)| {
        !columns.contains(&name) && (attribute.atthasdef || attribute.attidentity != 0)
    })
}

/// Whether a column is GENERATED ALWAYS AS an expression.
///
/// # Safety
/// The descriptor is valid.
pub(super) unsafe fn are_generated(descriptor: pg_sys::TupleDesc) -> bool {
    // SAFETY: as the caller promises.
    unsafe { live_columns(descriptor) }.any(|(_, _, attribute)| attribute.attgenerated != 0)
}
