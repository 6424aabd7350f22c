//! Reading a row that a scan found.
#![expect(unsafe_code, reason = "slots are C structures")]

use pgrx::prelude::*;

use super::version;

/// A row that a scan found, valid while the scan stands at it.
pub(crate) struct FoundRow<'a> {
    pub(super) slot: *mut pg_sys::TupleTableSlot,
    /// Index in the row of each column in the table's list.
    pub(super) column_numbers: &'a [usize],
}

impl FoundRow<'_> {
    /// The datum of a column, by its position in the table's list; `None` for NULL. What it points to lies in
    /// the page, and is valid as long as this row.
    pub(crate) fn get(&self, column: usize) -> Option<pg_sys::Datum> {
        let number = self.column_numbers[column];
        let mut null = false;
        // SAFETY: the slot holds a row of the table that the numbers were looked up in, so it has that many
        // columns; the first `tts_nvalid` of them are deformed already.
        let value = unsafe {
            let slot = &*self.slot;
            if number < usize::try_from(slot.tts_nvalid).unwrap_or(0) {
                null = *slot.tts_isnull.add(number);
                *slot.tts_values.add(number)
            } else {
                pg_sys::slot_getattr(self.slot, number as i32 + 1, &mut null)
            }
        };
        (!null).then_some(value)
    }

    /// A copy of a column's value; `None` for NULL, and when the column has another type.
    pub(crate) fn read<T: FromDatum + IntoDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: a slot has a descriptor as long as it exists, and the datum has the type that it names.
        unsafe {
            let attributes = version::attributes((*self.slot).tts_tupleDescriptor);
            let column_type = attributes[self.column_numbers[column]].atttypid;
            let value = self.get(column).filter(|_| T::is_compatible_with(column_type))?;
            T::from_datum(value, false)
        }
    }
}

/// Deforms all columns of the row in a slot at once, which costs less than one after the other.
///
/// # Safety
/// The slot holds a row.
pub(super) unsafe fn deform(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: as the caller promises.
    unsafe { pg_sys::slot_getallattrs(slot) };
}
