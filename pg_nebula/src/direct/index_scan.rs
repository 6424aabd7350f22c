//! Scans of a B-tree without an executor.
#![expect(unsafe_code, reason = "index scans are a C interface")]

use std::cell::RefCell;
use std::ffi::CStr;
use std::ptr::null_mut;

use pgrx::pg_sys::ScanDirection::ForwardScanDirection;
use pgrx::prelude::*;

use super::key::{Comparison, KeyValue};
use super::relation::OpenRelation;
use super::version;

/// Maximum number of columns that a scan compares.
const MAX_COLUMNS: usize = 4;

/// Entries between the last row of a scan and the first skip point, and from one skip point to the next. A
/// scan that ends at a skip point compares at most so many entries too many, at a hundredth of what moving a
/// row costs.
const STRIDE: usize = 8;

/// Key of an index entry, without the columns that the scan compares for equality. All its types are passed
/// by value.
pub(crate) type SkipPoint = Vec<pg_sys::Datum>;

/// Collects keys of entries that lie ahead of where a scan ended. A later scan may use one as its upper bound
/// ([`KeyRange::UpTo`]), which is cheaper than [`KeyRange::From`] if it finds its rows before.
pub(crate) struct SkipPoints {
    max: usize,
    points: RefCell<Vec<SkipPoint>>,
}

impl SkipPoints {
    /// Room for `max` points.
    pub(crate) const fn new(max: usize) -> Self {
        Self { max, points: RefCell::new(Vec::new()) }
    }

    /// The points that the last scan left, in the order of the index.
    pub(crate) fn take(self) -> Vec<SkipPoint> {
        self.points.into_inner()
    }
}

/// `WHERE (c1, …) = (equal, …) AND range ORDER BY` the columns of an index.
#[derive(Clone, Copy)]
pub(crate) struct IndexScan<'a> {
    /// Name of a B-tree of the table.
    pub(crate) index: &'a CStr,
    /// Values of its first columns.
    pub(crate) equal: &'a [KeyValue],
    /// Condition on the columns after those, here called c, d, e.
    pub(crate) range: KeyRange<'a>,
    /// Where to leave skip points, if the scan ends before its range does.
    pub(crate) skip_points: Option<&'a SkipPoints>,
}

/// Condition on the columns c, d, e that follow the equal ones.
#[derive(Clone, Copy)]
pub(crate) enum KeyRange<'a> {
    /// No condition.
    All,
    /// `(c, d, e) >= (…)`. The server compares all entries of a leaf page at once, however few rows are
    /// wanted.
    From(&'a [KeyValue]),
    /// `(c, d, e) >= (…) AND c <= …`. The server compares no entries beyond the upper bound.
    UpTo(&'a [KeyValue], KeyValue),
    /// `c BETWEEN … AND …`. The server compares no entries beyond the upper bound.
    Between(KeyValue, KeyValue),
}

impl<'a> IndexScan<'a> {
    /// `WHERE (c1, …) = (equal, …)`.
    pub(crate) fn exact(index: &'a CStr, equal: &'a [KeyValue]) -> Self {
        Self { index, equal, range: KeyRange::All, skip_points: None }
    }

    /// Whether columns of these types can be compared with the scan's values.
    pub(super) fn fits(&self, key_types: &[pg_sys::Oid]) -> bool {
        let equal = self.equal.len();
        let are = |from: usize, values: &[KeyValue]| {
            values.iter().enumerate().all(|(at, value)| key_types.get(from + at) == Some(&value.type_oid()))
        };
        // A B-tree has a column, so a list without any is of another access method.
        !key_types.is_empty()
            && are(0, self.equal)
            && match self.range {
                KeyRange::All => true,
                KeyRange::From(start) => are(equal, start),
                KeyRange::UpTo(start, end) => are(equal, start) && are(equal, &[end]),
                KeyRange::Between(start, end) => are(equal, &[start]) && are(equal, &[end]),
            }
    }

    /// Calls `visit` with each row that the snapshot shows, until it answers `false`.
    ///
    /// # Safety
    /// The index belongs to the table and [fits](IndexScan::fits); the snapshot stays valid during the scan.
    pub(super) unsafe fn run(
        &self,
        table: &OpenRelation,
        index: &OpenRelation,
        snapshot: pg_sys::Snapshot,
        mut visit: impl FnMut(*mut pg_sys::TupleTableSlot) -> bool,
    ) {
        // SAFETY: as the caller promises; the keys outlive the scan. After an error the abort of the
        // transaction closes what is open here.
        unsafe {
            let mut row_keys: [pg_sys::ScanKeyData; MAX_COLUMNS] = std::mem::zeroed();
            let mut keys: [pg_sys::ScanKeyData; MAX_COLUMNS + 2] = std::mem::zeroed();
            let count = self.fill_keys(index, &mut keys, &mut row_keys);
            let scan = version::begin_index_scan(table.0, index.0, snapshot, count);
            (*scan).xs_want_itup = self.skip_points.is_some();
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), count, null_mut(), 0);
            let mut slot: *mut pg_sys::TupleTableSlot = null_mut();
            let mut goes_on = true;
            while goes_on && !pg_sys::index_getnext_tid(scan, ForwardScanDirection).is_null() {
                // Made at the first entry, because most scans find none.
                if slot.is_null() {
                    slot = pg_sys::table_slot_create(table.0, null_mut());
                }
                // An entry stands for all versions of a row in a HOT chain; an MVCC snapshot shows one at
                // most.
                goes_on = !pg_sys::index_fetch_heap(scan, slot) || visit(slot);
            }
            if !slot.is_null() {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            if let Some(skip_points) = self.skip_points {
                let mut points = skip_points.points.borrow_mut();
                points.clear();
                while !goes_on && points.len() < skip_points.max {
                    let Some(point) = self.next_skip_point(scan) else { break };
                    points.push(point);
                }
            }
            pg_sys::index_endscan(scan);
        }
    }

    /// Moves the scan on by [`STRIDE`] entries and copies the key there; `None` at the end of the range.
    ///
    /// # Safety
    /// The scan has begun with `xs_want_itup`.
    unsafe fn next_skip_point(&self, scan: pg_sys::IndexScanDesc) -> Option<SkipPoint> {
        // SAFETY: as the caller promises; an entry has as many columns as its descriptor says, at most
        // INDEX_MAX_KEYS.
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

    /// Writes the scan keys and returns their number. A row comparison `(c, d, e) >= (…)` is one key that
    /// points to `row_keys`.
    ///
    /// # Safety
    /// As [`IndexScan::run`]; both arrays outlive the use of the keys.
    unsafe fn fill_keys(
        &self,
        index: &OpenRelation,
        keys: &mut [pg_sys::ScanKeyData],
        row_keys: &mut [pg_sys::ScanKeyData; MAX_COLUMNS],
    ) -> i32 {
        // SAFETY: as the caller promises.
        let compare = |column, how, value: &KeyValue| unsafe { value.scan_key(index, 0, column, how) };
        for (column, value) in self.equal.iter().enumerate() {
            keys[column] = compare(column, Comparison::Equal, value);
        }
        let next = self.equal.len();
        let (start, end) = match self.range {
            KeyRange::All => return next as i32,
            KeyRange::Between(start, end) => {
                keys[next] = compare(next, Comparison::GreaterOrEqual, &start);
                keys[next + 1] = compare(next, Comparison::LessOrEqual, &end);
                return next as i32 + 2;
            }
            KeyRange::From(start) => (start, None),
            KeyRange::UpTo(start, end) => (start, Some(end)),
        };
        for (at, value) in start.iter().enumerate() {
            let last = if at + 1 == start.len() { pg_sys::SK_ROW_END } else { 0 };
            let flags = pg_sys::SK_ROW_MEMBER | last;
            // SAFETY: as the caller promises.
            row_keys[at] = unsafe { value.scan_key(index, flags, next + at, Comparison::Order) };
        }
        // The header of a row comparison has the column and strategy of its first member.
        keys[next] = pg_sys::ScanKeyData {
            sk_flags: pg_sys::SK_ROW_HEADER.cast_signed(),
            sk_argument: pg_sys::Datum::from(row_keys.as_mut_ptr()),
            ..row_keys[0]
        };
        if let Some(end) = end {
            keys[next + 1] = compare(next, Comparison::LessOrEqual, &end);
        }
        next as i32 + 1 + i32::from(end.is_some())
    }
}
