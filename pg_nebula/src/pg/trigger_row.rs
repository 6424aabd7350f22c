//! Rows of a table, as its row triggers get them.
#![expect(unsafe_code, reason = "tuples are C structures")]

use std::ffi::CStr;
use std::num::NonZeroUsize;

use pgrx::PgTrigger;
use pgrx::htup::heap_getattr_raw;
use pgrx::prelude::*;

/// The row before or after the change that fired a trigger, valid while the trigger runs.
pub(crate) struct TriggerRow<'a> {
    tuple: pg_sys::HeapTuple,
    descriptor: &'a pg_sys::TupleDescData,
}

/// The rows that PostgreSQL gives a trigger, first OLD (NEW for INSERT), then NEW of an UPDATE; `None` where
/// there is none.
pub(crate) fn rows<'a>(trigger: &'a PgTrigger<'_>) -> (Option<TriggerRow<'a>>, Option<TriggerRow<'a>>) {
    let data = trigger.trigger_data();
    // SAFETY: PostgreSQL sets the relation, which is open while the trigger runs.
    let descriptor = unsafe { &*(*data.tg_relation).rd_att };
    let row = |tuple: pg_sys::HeapTuple| (!tuple.is_null()).then_some(TriggerRow { tuple, descriptor });
    (row(data.tg_trigtuple), row(data.tg_newtuple))
}

impl TriggerRow<'_> {
    /// The value of a column; `None` for NULL, and when there is no column of this name and type.
    pub(crate) fn get<T: FromDatum + IntoDatum>(&self, column: &CStr) -> Option<T> {
        let descriptor = std::ptr::from_ref(self.descriptor).cast_mut();
        // SAFETY: the tuple has the relation's descriptor, and the datum the type that it names.
        unsafe {
            let number = pg_sys::SPI_fnumber(descriptor, column.as_ptr());
            let value =
                heap_getattr_raw(self.tuple, NonZeroUsize::new(usize::try_from(number).ok()?)?, descriptor)?;
            let is_of_type = T::is_compatible_with(pg_sys::SPI_gettypeid(descriptor, number));
            T::from_datum(value, !is_of_type)
        }
    }
}
