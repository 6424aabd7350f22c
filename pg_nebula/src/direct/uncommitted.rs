//! Scans that also find rows of transactions in progress, which no statement sees.
#![expect(unsafe_code, reason = "index scans and tuples are C interfaces")]

use std::ffi::CStr;
use std::num::NonZeroUsize;

use pgrx::htup::heap_getattr_raw;
use pgrx::pg_sys::SnapshotType::SNAPSHOT_DIRTY;
use pgrx::prelude::*;

use super::key::{Comparison, KeyValue};
use super::relation::{OpenRelation, READ};
use crate::pg::catalog::relation;
use crate::pg::error::{Error, Result};

/// `SELECT columns FROM table WHERE equal = … [AND key BETWEEN … AND …]`, in the order of an index that
/// begins with these columns. Rows that a transaction in progress has inserted or deleted are found, too.
pub(crate) struct UncommittedScan<'a> {
    pub(crate) table: &'a CStr,
    pub(crate) index: &'a CStr,
    pub(crate) equal: (&'a CStr, KeyValue),
    pub(crate) between: Option<(&'a CStr, KeyValue, KeyValue)>,
    /// Names and types.
    pub(crate) columns: &'a [(&'a CStr, pg_sys::Oid)],
}

/// A row that such a scan stands at.
pub(crate) struct UncommittedRow<'a> {
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    numbers: &'a [NonZeroUsize],
    types: &'a [(&'a CStr, pg_sys::Oid)],
    /// Transaction in progress that has inserted the row: this session's top-level transaction, or another
    /// session's transaction or subtransaction.
    pub(crate) inserted_by: Option<u32>,
    /// The same, but not for this session's own.
    pub(crate) inserted_by_other: Option<u32>,
    /// Top-level transaction of another session, in progress, that has deleted or locked the row.
    pub(crate) deleted_by: Option<u32>,
}

impl UncommittedRow<'_> {
    /// The value of a column, by its position in the scan's list; `None` for NULL, and for a type other than
    /// the list's.
    pub(crate) fn get<T: FromDatum + IntoDatum>(&self, column: usize) -> Option<T> {
        // SAFETY: the tuple has this descriptor, and the scan has compared the types of its columns with the
        // list.
        unsafe {
            let value = heap_getattr_raw(self.tuple, self.numbers[column], self.descriptor)?;
            T::from_datum(value, !T::is_compatible_with(self.types[column].1))
        }
    }
}

impl UncommittedScan<'_> {
    /// Calls `visit` with each row.
    pub(crate) fn each(&self, mut visit: impl FnMut(&UncommittedRow<'_>)) -> Result<()> {
        let (table, index) = (OpenRelation::table(relation(self.table)?, READ), relation(self.index)?);
        let number = |column, type_oid| column_number(&table, column, type_oid);
        let equal = number(self.equal.0, self.equal.1.type_oid())?;
        let numbers = self
            .columns
            .iter()
            .map(|(column, type_oid)| number(column, *type_oid))
            .collect::<Result<Vec<_>>>()?;
        let mut keys = vec![self.equal.1.column_key(equal, Comparison::Equal)];
        if let Some((between, low, high)) = self.between {
            let between = number(between, low.type_oid())?;
            keys.push(low.column_key(between, Comparison::GreaterOrEqual));
            keys.push(high.column_key(between, Comparison::LessOrEqual));
        }
        // SAFETY: the columns have the types of the keys. All that the server reads of a dirty snapshot is
        // its type; the scan writes the transactions in progress of each row into it. What is begun is ended
        // in order; after an error the abort of the transaction ends it.
        unsafe {
            let mut snapshot = pg_sys::SnapshotData { snapshot_type: SNAPSHOT_DIRTY, ..std::mem::zeroed() };
            let snapshot = &raw mut snapshot;
            let descriptor = (*table.0).rd_att;
            let own = some(pg_sys::GetTopTransactionIdIfAny());
            let scan = {
                let count = keys.len() as i32;
                pg_sys::systable_beginscan(table.0, index, true, snapshot, count, keys.as_mut_ptr())
            };
            loop {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                let is_own = || {
                    let xmin = (*(*tuple).t_data).t_choice.t_heap.t_xmin;
                    own.is_some() && pg_sys::TransactionIdIsCurrentTransactionId(xmin)
                };
                visit(&UncommittedRow {
                    tuple,
                    descriptor,
                    numbers: &numbers,
                    types: self.columns,
                    inserted_by_other: some((*snapshot).xmin),
                    inserted_by: some((*snapshot).xmin).or_else(|| own.filter(|_| is_own())),
                    deleted_by: some((*snapshot).xmax).map(|deleter| {
                        pg_sys::SubTransGetTopmostTransaction(pg_sys::TransactionId::from_inner(deleter))
                            .into_inner()
                    }),
                });
            }
            pg_sys::systable_endscan(scan);
        }
        Ok(())
    }
}

/// Number of a transaction; `None` for the one that stands for none.
fn some(transaction: pg_sys::TransactionId) -> Option<u32> {
    (transaction != pg_sys::InvalidTransactionId).then(|| transaction.into_inner())
}

/// Number of a column, from 1.
///
/// # Errors
/// When the table has no column of this name and type.
fn column_number(table: &OpenRelation, column: &CStr, type_oid: pg_sys::Oid) -> Result<NonZeroUsize> {
    // SAFETY: the table is open; the name ends with a zero byte.
    let (number, is_of_type) = unsafe {
        let descriptor = (*table.0).rd_att;
        let number = pg_sys::SPI_fnumber(descriptor, column.as_ptr());
        (number, number > 0 && pg_sys::SPI_gettypeid(descriptor, number) == type_oid)
    };
    usize::try_from(number)
        .ok()
        .filter(|_| is_of_type)
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| Error::corrupt_schema("column of a table of the extension"))
}
