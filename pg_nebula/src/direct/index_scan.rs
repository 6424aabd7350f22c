//! What an index is searched for.
#![expect(unsafe_code, reason = "the keys of a scan are C structures")]

use std::cell::RefCell;
use std::ffi::CStr;
use std::ptr::null_mut;

use pgrx::Uuid;
use pgrx::pg_sys::ScanDirection::ForwardScanDirection;
use pgrx::prelude::*;

use super::handle::{OpenRelation, READ, TableHandle};
use super::row::FoundRow;
use super::snapshot::{RegisteredSnapshot, as_of_now};
use crate::pg::error::{Error, Result};

/// Most columns that a search compares.
const COLUMNS: usize = 4;

/// Entries from the last row that was wanted to the first landmark, and from one to the next: so many are compared at
/// most, at a hundredth of the cost of moving a row each.
const STRIDE: usize = 8;

/// A place in an index: the values of the columns that follow, which must be passed by value.
pub(crate) type SkipPoint = Vec<pg_sys::Datum>;

/// Where a scan leaves points that later ones may go up to.
pub(crate) struct SkipPoints {
    most: usize,
    points: RefCell<Vec<SkipPoint>>,
}

impl SkipPoints {
    /// Room for so many.
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, points: RefCell::new(Vec::new()) }
    }

    /// Those that were left, in order.
    pub(crate) fn take(self) -> Vec<SkipPoint> {
        self.points.into_inner()
    }
}

/// Rows with these values in the first columns of an index, in its order; and of those, only what lies in a range.
#[derive(Clone, Copy)]
pub(crate) struct IndexScan<'a> {
    /// Name of a B-tree of the table.
    pub(crate) index: &'a CStr,
    pub(crate) equal: &'a [KeyValue],
    pub(crate) range: KeyRange<'a>,
    /// For a search [`KeyRange::From`] a place.
    pub(crate) skip_points: Option<&'a SkipPoints>,
}

/// What follows the first columns.
#[derive(Clone, Copy)]
pub(crate) enum KeyRange<'a> {
    All,
    /// From a place in the columns that follow. However few rows are wanted, a whole page of the index is compared.
    From(&'a [KeyValue]),
    /// The same, the first of those columns up to a value. Compares no more than that.
    UpTo(&'a [KeyValue], KeyValue),
    /// The next column from a value up to another. Compares no more than that.
    Between(KeyValue, KeyValue),
}

/// A value with the functions that compare it in an index.
#[derive(Clone, Copy)]
pub(crate) struct KeyValue {
    datum: pg_sys::Datum,
    by: Functions,
}

/// Equal, not less, not greater; and the order of an index.
type Functions = [u32; 4];

impl KeyValue {
    /// A `bigint`.
    pub(crate) fn bigint(value: i64) -> Self {
        Self {
            datum: value.into(),
            by: [pg_sys::F_INT8EQ, pg_sys::F_INT8GE, pg_sys::F_INT8LE, pg_sys::F_BTINT8CMP],
        }
    }

    /// An `integer`.
    pub(crate) fn integer(value: i32) -> Self {
        Self {
            datum: value.into(),
            by: [pg_sys::F_INT4EQ, pg_sys::F_INT4GE, pg_sys::F_INT4LE, pg_sys::F_BTINT4CMP],
        }
    }

    /// A `timestamptz`.
    pub(crate) fn timestamp(value: i64) -> Self {
        Self {
            datum: value.into(),
            by: [
                pg_sys::F_TIMESTAMPTZ_EQ,
                pg_sys::F_TIMESTAMPTZ_GE,
                pg_sys::F_TIMESTAMPTZ_LE,
                pg_sys::F_TIMESTAMPTZ_CMP,
            ],
        }
    }

    /// A `text`, which lives as long as the memory of the present call.
    pub(crate) fn text(value: &str) -> Self {
        let datum = value.into_datum().unwrap_or_else(pg_sys::Datum::null);
        Self { datum, by: [pg_sys::F_TEXTEQ, pg_sys::F_TEXT_GE, pg_sys::F_TEXT_LE, pg_sys::F_BTTEXTCMP] }
    }

    /// A `uuid`.
    pub(crate) fn uuid(value: Uuid) -> Result<Self> {
        let datum = value.into_datum().ok_or_else(|| Error::corrupt_schema("identifier"))?;
        Ok(Self { datum, by: [pg_sys::F_UUID_EQ, pg_sys::F_UUID_GE, pg_sys::F_UUID_LE, pg_sys::F_UUID_CMP] })
    }
}

impl<'a> IndexScan<'a> {
    /// All rows with these values.
    pub(crate) fn exact(index: &'a CStr, equal: &'a [KeyValue]) -> Self {
        Self { index, equal, range: KeyRange::All, skip_points: None }
    }

    /// Calls `see` with each row that a snapshot shows, until it answers `false`. Rows are read into `slot`, which is made
    /// when there is one to read.
    ///
    /// # Safety
    /// The index is one of the table, its columns have the types of the values, and the snapshot is kept meanwhile.
    pub(super) unsafe fn each(
        &self,
        table: &OpenRelation,
        index: &OpenRelation,
        snapshot: pg_sys::Snapshot,
        mut see: impl FnMut(*mut pg_sys::TupleTableSlot) -> bool,
    ) {
        // SAFETY: as promised; the keys outlive the scan. What is begun is ended in order; after an error the abort does
        // that.
        unsafe {
            let mut members: [pg_sys::ScanKeyData; COLUMNS] = std::mem::zeroed();
            let mut keys: [pg_sys::ScanKeyData; COLUMNS + 2] = std::mem::zeroed();
            let count = self.fill(index, &mut keys, &mut members);
            let scan = pg_sys::index_beginscan(table.0, index.0, snapshot, count, 0);
            (*scan).xs_want_itup = self.skip_points.is_some();
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), count, null_mut(), 0);
            let mut slot: *mut pg_sys::TupleTableSlot = null_mut();
            let mut more = true;
            while more && !pg_sys::index_getnext_tid(scan, ForwardScanDirection).is_null() {
                // Mostly there is no entry; then no row is looked at, and needs no slot.
                if slot.is_null() {
                    slot = pg_sys::table_slot_create(table.0, null_mut());
                }
                // An entry can lead to several versions of its row, of which the snapshot shows one at most.
                more = !pg_sys::index_fetch_heap(scan, slot) || see(slot);
            }
            if !slot.is_null() {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            if let Some(skip_points) = self.skip_points {
                let mut points = skip_points.points.borrow_mut();
                points.clear();
                while !more && points.len() < skip_points.most {
                    let Some(place) = self.look_ahead(scan) else { break };
                    points.push(place);
                }
            }
            pg_sys::index_endscan(scan);
        }
    }

    /// The place of an entry some way ahead, if there are so many.
    ///
    /// # Safety
    /// The scan is under way, and keeps entries.
    unsafe fn look_ahead(&self, scan: pg_sys::IndexScanDesc) -> Option<SkipPoint> {
        // SAFETY: as promised; an entry has as many columns as its description says, which are no more than an index can
        // have.
        unsafe {
            for _ in 0..STRIDE {
                if pg_sys::index_getnext_tid(scan, ForwardScanDirection).is_null() {
                    return None;
                }
            }
            let mut values = [pg_sys::Datum::null(); pg_sys::INDEX_MAX_KEYS as usize];
            let mut nulls = [false; pg_sys::INDEX_MAX_KEYS as usize];
            let (values_at, nulls_at) = (values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::index_deform_tuple((*scan).xs_itup, (*scan).xs_itupdesc, values_at, nulls_at);
            Some(values[self.equal.len()..].to_vec())
        }
    }

    /// Writes the search as the access method wants it; answers how many keys it has.
    ///
    /// # Safety
    /// As [`IndexScan::each`]; the keys point to the members.
    unsafe fn fill(
        &self,
        index: &OpenRelation,
        keys: &mut [pg_sys::ScanKeyData],
        members: &mut [pg_sys::ScanKeyData; COLUMNS],
    ) -> i32 {
        // SAFETY: as promised.
        let compare = |column, how: usize, value: &KeyValue| unsafe { key(index, 0, column, how, value) };
        for (column, value) in self.equal.iter().enumerate() {
            keys[column] = compare(column, EQUAL, value);
        }
        let next = self.equal.len();
        let (place, upto) = match self.range {
            KeyRange::All => return next as i32,
            KeyRange::Between(low, high) => {
                keys[next] = compare(next, NOT_LESS, &low);
                keys[next + 1] = compare(next, NOT_GREATER, &high);
                return next as i32 + 2;
            }
            KeyRange::From(place) => (place, None),
            KeyRange::UpTo(place, upto) => (place, Some(upto)),
        };
        for (number, value) in place.iter().enumerate() {
            let end = if number + 1 == place.len() { pg_sys::SK_ROW_END } else { 0 };
            // SAFETY: as promised.
            members[number] = unsafe { key(index, pg_sys::SK_ROW_MEMBER | end, next + number, ORDER, value) };
        }
        // The head of a comparison of rows has no function of its own, but points to its members.
        keys[next] = pg_sys::ScanKeyData {
            sk_flags: pg_sys::SK_ROW_HEADER.cast_signed(),
            sk_argument: pg_sys::Datum::from(members.as_mut_ptr()),
            ..members[0]
        };
        if let Some(upto) = upto {
            keys[next + 1] = compare(next, NOT_GREATER, &upto);
        }
        next as i32 + 1 + i32::from(upto.is_some())
    }
}

impl TableHandle {
    /// Whether a search finds a row, as of now. What others have in flight is not seen.
    ///
    /// # Safety
    /// As [`IndexScan::each`], and this is the table.
    pub(super) unsafe fn exists(
        &self,
        table: &OpenRelation,
        index: pg_sys::Oid,
        search: &IndexScan<'_>,
    ) -> bool {
        let (now, mut seen) = (&mut as_of_now(), false);
        // SAFETY: as promised.
        unsafe {
            search.each(table, &OpenRelation::index(index, READ), now, |_| {
                seen = true;
                false
            });
        }
        seen
    }

    /// Calls `see` with each row that a search finds, all as of one moment, which is now.
    ///
    /// # Safety
    /// As [`IndexScan::each`].
    pub(super) unsafe fn each(
        &self,
        index: pg_sys::Oid,
        search: &IndexScan<'_>,
        mut see: impl FnMut(&FoundRow<'_>),
    ) {
        let (table, index) = (OpenRelation::table(self.table, READ), OpenRelation::index(index, READ));
        let now = RegisteredSnapshot::fresh();
        // SAFETY: as promised.
        unsafe {
            search.each(&table, &index, now.0, |slot| {
                see(&FoundRow { slot, column_numbers: &self.column_numbers });
                true
            });
        }
    }
}

/// Places in [`Functions`], and the strategies of a B-tree that they stand for.
const EQUAL: usize = 0;
const NOT_LESS: usize = 1;
const NOT_GREATER: usize = 2;
const ORDER: usize = 3;
const STRATEGIES: [u32; 4] = [
    pg_sys::BTEqualStrategyNumber,
    pg_sys::BTGreaterEqualStrategyNumber,
    pg_sys::BTLessEqualStrategyNumber,
    pg_sys::BTGreaterEqualStrategyNumber,
];

/// One comparison of a scan.
///
/// # Safety
/// The index has that column, of the type of the value.
unsafe fn key(
    index: &OpenRelation,
    flags: u32,
    column: usize,
    how: usize,
    value: &KeyValue,
) -> pg_sys::ScanKeyData {
    // SAFETY: as promised; an index has a collation for each of its columns.
    unsafe {
        let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
        let collation = *(*index.0).rd_indcollation.add(column);
        let (flags, column) = (flags.cast_signed(), column as i16 + 1);
        let (strategy, any) = (STRATEGIES[how] as u16, pg_sys::InvalidOid);
        let function = value.by[how].into();
        pg_sys::ScanKeyEntryInitialize(
            &mut key,
            flags,
            column,
            strategy,
            any,
            collation,
            function,
            value.datum,
        );
        key
    }
}
