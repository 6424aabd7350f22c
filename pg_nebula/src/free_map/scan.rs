//! Scans the rows of one page: a range of the primary key, including rows of transactions in flight.

use std::ops::Range;

use pgrx::pg_sys;

use crate::direct::{KeyValue, UncommittedScan};
use crate::pg::datum::inet::Host;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::session;
use crate::pools::pool::Pool;
use nebula_core::address::number;
use nebula_core::bitmap_page::{BITMAP_WORDS, Bitmap, PAGE_SHIFT};

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
        KeyValue::inet(family.address((page << PAGE_SHIFT) + (word * 64 + bit) as u128))
    };
    let scan = UncommittedScan {
        table: c"allocation",
        index: c"allocation_pkey",
        equal: (c"project_id", KeyValue::uuid(pool.project)?),
        between: Some((c"ip", address(range.start, 0)?, address(range.end - 1, 63)?)),
        columns: &[(c"ip", pg_sys::INETOID), (c"quarantined_until", pg_sys::TIMESTAMPTZOID)],
    };
    let mut reading = Reading { expires: i64::MAX, in_flight: Vec::new(), orphans: Vec::new() };
    scan.each(|row| {
        let Some(Host(ip)) = row.get(0) else { return };
        if let Some(Timestamp(until)) = row.get(1) {
            if until <= now {
                return;
            }
            reading.expires = reading.expires.min(until);
        }
        let bit = (number(ip) & ((1 << PAGE_SHIFT) - 1)) as u16;
        words[usize::from(bit >> 6)] |= 1 << (bit & 63);
        reading.in_flight.extend(row.inserted_by.map(|transaction| (bit, transaction)));
        reading.orphans.extend(row.deleted_by.filter(|transaction| !session::has_process(*transaction)));
    })?;
    Ok(reading)
}

/// The row of one address, committed or not: transactions of whose end the map may not be told, one in
/// flight that has inserted it, and one in no session that has deleted it. `None`: there is no row.
pub(super) fn find_row(pool: &Pool, page: u128, bit: u16) -> Result<Option<Vec<u32>>> {
    let word = usize::from(bit >> 6);
    let mut rows: Bitmap = [0; BITMAP_WORDS];
    let reading = read(pool, page, &(word..word + 1), i64::MIN, &mut rows)?;
    let inserted_by = reading.in_flight.into_iter().filter(|(of, _)| *of == bit);
    let transactions = inserted_by.map(|(_, transaction)| transaction).chain(reading.orphans).collect();
    Ok((rows[word] >> (bit & 63) & 1 == 1).then_some(transactions))
}
