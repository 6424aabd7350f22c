//! A table's columns, as its tuple descriptor has them.
#![expect(unsafe_code, reason = "tuple descriptors are C structures")]

use std::ffi::CStr;

use pgrx::prelude::*;

use super::{Columns, version};

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

/// Indexes in the row of these columns; `None` when one of them does not exist.
///
/// # Safety
/// The descriptor is valid.
pub(super) unsafe fn numbers(descriptor: pg_sys::TupleDesc, columns: Columns) -> Option<Vec<usize>> {
    // SAFETY: as the caller promises.
    let live = || unsafe { live_columns(descriptor) };
    match columns {
        Columns::All => Some(live().map(|(number, ..)| number).collect()),
        Columns::Listed(names) => {
            let find = |column: &&CStr| live().find(|(_, name, _)| name == column);
            names.iter().map(|column| find(column).map(|(number, ..)| number)).collect()
        }
    }
}

/// Whether a column that is not in the list has a default or is an identity column.
///
/// # Safety
/// The descriptor is valid.
pub(super) unsafe fn need_defaults(descriptor: pg_sys::TupleDesc, columns: Columns) -> bool {
    let Columns::Listed(columns) = columns else { return false };
    // SAFETY: as the caller promises.
    unsafe { live_columns(descriptor) }.any(|(_, name, attribute)| {
        !columns.contains(&name) && (attribute.atthasdef || attribute.attidentity != 0)
    })
}

/// Whether a column that is not among `filled` is GENERATED ALWAYS AS an expression.
///
/// # Safety
/// The descriptor is valid.
pub(super) unsafe fn are_generated(descriptor: pg_sys::TupleDesc, filled: &[&CStr]) -> bool {
    // SAFETY: as the caller promises.
    unsafe { live_columns(descriptor) }
        .any(|(_, name, attribute)| attribute.attgenerated != 0 && !filled.contains(&name))
}

/// Numbers of the columns with these names, as indexes and constraints name them: from 1.
///
/// # Safety
/// The descriptor is valid.
pub(super) unsafe fn attribute_numbers(descriptor: pg_sys::TupleDesc, columns: &[&CStr]) -> Vec<i16> {
    // SAFETY: as the caller promises; a table has at most 1600 columns.
    unsafe { live_columns(descriptor) }
        .filter(|(_, name, _)| columns.contains(name))
        .map(|(number, ..)| number as i16 + 1)
        .collect()
}
