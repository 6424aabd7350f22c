//! A row that a scan found.
#![expect(unsafe_code, reason = "slots are C structures")]

use pgrx::prelude::*;

/// A row that was found, as long as it is looked at.
pub(crate) struct FoundRow<'a> {
    pub(super) slot: *mut pg_sys::TupleTableSlot,
    pub(super) column_numbers: &'a [usize],
}

impl FoundRow<'_> {
    /// The value of a column, by its number in the table's list; `None` for NULL.
    pub(crate) fn get(&self, column: usize) -> Option<pg_sys::Datum> {
        let place = self.column_numbers[column];
        let mut null = false;
        // SAFETY: the slot holds a row of the table that the column numbers were looked up in; so many of its columns are read.
        let value = unsafe {
            let slot = &*self.slot;
            if place < usize::try_from(slot.tts_nvalid).unwrap_or(0) {
                null = *slot.tts_isnull.add(place);
                *slot.tts_values.add(place)
            } else {
                pg_sys::slot_getattr(self.slot, place as i32 + 1, &mut null)
            }
        };
        (!null).then_some(value)
    }

    /// The same as a value of its own; `None` also when the column has another type.
    pub(crate) fn read<T: FromDatum + IntoDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: a row has as many columns as its description says, and the datum the type that it says.
        unsafe {
            let shape = &*(*self.slot).tts_tupleDescriptor;
            let columns = usize::try_from(shape.natts).unwrap_or(0);
            let is = shape.attrs.as_slice(columns)[self.column_numbers[column]].atttypid;
            let value = self.get(column).filter(|_| T::is_compatible_with(is))?;
            T::from_datum(value, false)
        }
    }
}

/// Reads all columns of the row in a slot at once, which costs less than one by one.
///
/// # Safety
/// The slot holds a row.
pub(super) unsafe fn deform(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: as promised.
    unsafe { pg_sys::slot_getallattrs(slot) };
}
