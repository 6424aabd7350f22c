//! Scans the rows of one page: a range of the primary key, including rows of transactions in flight.
#![expect(unsafe_code, reason = "rows of transactions in flight are visible only to a scan below SQL")]

use std::num::NonZeroUsize;
use std::ops::Range;

use pgrx::Uuid;
use pgrx::htup::heap_getattr_raw;
use pgrx::pg_sys::SnapshotType::SNAPSHOT_DIRTY;
use pgrx::prelude::*;

use crate::pg::catalog::relation;
use crate::pg::datum::inet::Host;
use crate::pg::error::{Error, Result};
use crate::pools::pool::Pool;
use nebula_core::address::number;
use nebula_core::bitmap_page::{Bitmap, PAGE_SHIFT};

/// Result of a scan, besides the held bits.
pub(crate) struct Reading {
    /// When the first quarantine ends, in PostgreSQL's microseconds; `i64::MAX` for none.
    pub(crate) expires: i64,
    /// Rows of transactions still in flight, the reader's own too: address within the page, transaction.
    pub(crate) in_flight: Vec<(u16, u32)>,
    /// Transactions that have deleted rows of the page and are in flight, but in no session: prepared before
    /// the last restart of the server, at which the map lost its changes.
    pub(crate) orphans: Vec<u32>,
}

/// A lock on reading one page, so that sessions which need it at the same time read it once. It is a lock of
/// the transaction, so an error releases it, and deadlocks are detected.
pub(crate) struct ReadingLock(pg_sys::LOCKTAG);

impl ReadingLock {
    /// Waits for the session that reads the page now.
    pub(crate) fn acquire(pool: &Pool, page: u128) -> Self {
        let tag = pg_sys::LOCKTAG {
            // SAFETY: set once when the session starts.
            locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
            locktag_field2: pool.id.cast_unsigned(),
            locktag_field3: page as u32,
            // The SQL functions for advisory locks use 1 and 2.
            locktag_field4: 3,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        // SAFETY: a valid tag; the transaction releases the lock if we do not.
        unsafe { pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as i32, false, false) };
        Self(tag)
    }

    /// Lets the next session in. Not in `Drop`, because after an error the abort has released the lock
    /// already.
    pub(crate) fn release(self) {
        // SAFETY: the tag of a lock that this transaction holds.
        unsafe { pg_sys::LockRelease(&self.0, pg_sys::ExclusiveLock as i32, false) };
    }
}

/// Number of a column of the table.
fn column(table: pg_sys::Oid, name: &std::ffi::CStr) -> Result<NonZeroUsize> {
    // SAFETY: a catalog look-up by valid name inside a transaction.
    let number = unsafe { pg_sys::get_attnum(table, name.as_ptr()) };
    usize::try_from(number).ok().and_then(NonZeroUsize::new).ok_or_else(|| Error::corrupt_schema("column"))
}

/// Sets the bits of the addresses that have a row, in the given words of a page. Rows of transactions in
/// flight count; rows whose quarantine is over before `now` do not.
pub(crate) fn read(
    pool: &Pool,
    page: u128,
    range: &Range<usize>,
    now: i64,
    words: &mut Bitmap,
) -> Result<Reading> {
    let family = pool.network.family();
    let address = |word: usize, bit: usize| {
        Host(family.address((page << PAGE_SHIFT) + (word * 64 + bit) as u128)).into_datum()
    };
    let bounds = (address(range.start, 0), address(range.end - 1, 63));
    let (Some(low), Some(high)) = bounds else { return Err(Error::corrupt_schema("address")) };
    let table = relation(c"allocation")?;
    let index = relation(c"allocation_pkey")?;
    let (ip, until) = (column(table, c"ip")?, column(table, c"quarantined_until")?);
    let project = Uuid::into_datum(pool.project).ok_or_else(|| Error::corrupt_schema("project"))?;
    let project_column = column(table, c"project_id")?;
    let mut reading = Reading { expires: i64::MAX, in_flight: Vec::new(), orphans: Vec::new() };
    // SAFETY: what is opened is closed in order; an error in between aborts the transaction, which closes it
    // too. The columns have the types of the extension's own script: uuid, inet, timestamptz. A dirty
    // snapshot needs no more than its type; the scan writes into it which transaction in flight inserted or
    // deleted the row, and the functions called below accept any transaction number.
    unsafe {
        let relation = pg_sys::table_open(table, pg_sys::AccessShareLock as i32);
        let mut snapshot = pg_sys::SnapshotData { snapshot_type: SNAPSHOT_DIRTY, ..std::mem::zeroed() };
        let mut keys: [pg_sys::ScanKeyData; 3] = std::mem::zeroed();
        let conditions = [
            (project_column, pg_sys::BTEqualStrategyNumber, pg_sys::F_UUID_EQ, project),
            (ip, pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_NETWORK_GE, low),
            (ip, pg_sys::BTLessEqualStrategyNumber, pg_sys::F_NETWORK_LE, high),
        ];
        for (key, (column, strategy, function, value)) in keys.iter_mut().zip(conditions) {
            pg_sys::ScanKeyInit(
                key,
                column.get() as i16,
                strategy as u16,
                pg_sys::Oid::from(function),
                value,
            );
        }
        let own = pg_sys::GetTopTransactionIdIfAny();
        let scan = pg_sys::systable_beginscan(relation, index, true, &mut snapshot, 3, keys.as_mut_ptr());
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let Some(value) = heap_getattr_raw(tuple, ip, (*relation).rd_att) else { continue };
            if let Some(value) = heap_getattr_raw(tuple, until, (*relation).rd_att) {
                let until = value.value() as i64;
                if until <= now {
                    continue;
                }
                reading.expires = reading.expires.min(until);
            }
            let bit = (number(Host::read(value).0) & ((1 << PAGE_SHIFT) - 1)) as u16;
            words[usize::from(bit >> 6)] |= 1 << (bit & 63);
            if snapshot.xmin != pg_sys::InvalidTransactionId {
                reading.in_flight.push((bit, snapshot.xmin.into_inner()));
            } else if own != pg_sys::InvalidTransactionId
                && pg_sys::TransactionIdIsCurrentTransactionId((*(*tuple).t_data).t_choice.t_heap.t_xmin)
            {
                reading.in_flight.push((bit, own.into_inner()));
            }
            if snapshot.xmax != pg_sys::InvalidTransactionId {
                let top = pg_sys::SubTransGetTopmostTransaction(snapshot.xmax);
                if pg_sys::BackendXidGetPid(top) == 0 {
                    reading.orphans.push(top.into_inner());
                }
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
    Ok(reading)
}
