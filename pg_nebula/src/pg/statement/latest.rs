//! Statements that see what is committed now, in transactions whose snapshot is fixed.
#![expect(unsafe_code, reason = "SPI takes a snapshot only as a C interface")]

use std::ffi::{CString, c_char};
use std::ptr::null_mut;

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::{SpiError, SpiHeapTupleData};

use super::Row;
use crate::pg::error::{Error, Result};

/// All rows of a SELECT in a new snapshot. Planned anew at each call: REPEATABLE READ is rare.
pub(super) fn query<T>(
    sql: &str,
    args: &[DatumWithOid<'_>],
    mut read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let failed = || Error::corrupt_schema("rows of a statement");
    let sql = CString::new(sql).map_err(|_| failed())?;
    let mut types: Vec<pg_sys::Oid> = args.iter().map(DatumWithOid::oid).collect();
    let nulls: Vec<c_char> =
        args.iter().map(|arg| if arg.datum().is_none() { b'n' } else { b' ' } as c_char).collect();
    let mut values: Vec<pg_sys::Datum> = args
        .iter()
        .map(|arg| arg.datum().map_or(pg_sys::Datum::null(), |datum| datum.sans_lifetime()))
        .collect();
    Spi::connect(|_| {
        // SAFETY: connected to SPI, which frees plan and rows when this closure ends; types, values and nulls
        // have as many entries as there are arguments. After an error the abort of the transaction
        // unregisters the snapshot.
        let rows = unsafe {
            let plan = pg_sys::SPI_prepare(sql.as_ptr(), types.len() as i32, types.as_mut_ptr());
            if plan.is_null() {
                return Err(failed());
            }
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
            let (values, nulls) = (values.as_mut_ptr(), nulls.as_ptr());
            let code =
                pg_sys::SPI_execute_snapshot(plan, values, nulls, snapshot, null_mut(), false, false, 0);
            pg_sys::UnregisterSnapshot(snapshot);
            match pg_sys::SPI_tuptable.as_ref() {
                Some(rows) if code == pg_sys::SPI_OK_SELECT as i32 => rows,
                _ => return Err(failed()),
            }
        };
        (0..usize::try_from(rows.numvals).unwrap_or(0))
            .map(|number| {
                // SAFETY: the rows are valid for their number, until SPI frees them.
                let row = unsafe { SpiHeapTupleData::new(rows.tupdesc, *rows.vals.add(number)) };
                read(&Row(row?.ok_or(SpiError::NoTupleTable)?))
            })
            .collect()
    })
}
