//! Where to look for a free address.
//!
//! Everything here is a guess: the primary key of nebula.allocation decides. A guess names the lowest address that
//! no row holds and no other transaction is about to hold, and says "exhausted" only when that is certain.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use pgrx::Inet;
use pgrx::prelude::*;

use crate::address::number;
use crate::error::Result;
use crate::plan::Plan;
use crate::pool::{Pool, network};

/// Most in-flight marks one transaction sets. They share the server's lock table, which has 64 places a session;
/// beyond this a bulk transaction goes unmarked and others wait for its rows instead of passing them by.
const MARKS_PER_TRANSACTION: u32 = 48;

thread_local! {
    /// Start of the transaction that set marks last, and how many.
    static MARKS: Cell<(i64, u32)> = const { Cell::new((0, 0)) };
}

/// What a look found.
#[derive(Debug)]
pub(crate) enum Take {
    /// Free as far as anyone knows, and marked so that others pass it by. Try to insert it.
    Address(IpAddr),
    /// All is held or marked by transactions in flight, which may still roll back.
    Busy,
    /// All is held for good.
    Exhausted,
}

/// A search through one pool from its lowest address.
pub(crate) struct Search<'a> {
    pool: &'a Pool,
    /// Where to look next; `None` past the end.
    cursor: Option<u128>,
    /// Free addresses found by the last look and not tried yet.
    gap: Option<(u128, u128)>,
    /// Lowest address passed by because another transaction marked it.
    busy: Option<u128>,
}

impl<'a> Search<'a> {
    /// Starts at the lowest assignable address of `pool`.
    pub(crate) fn new(pool: &'a Pool) -> Self {
        Self { pool, cursor: Some(*pool.network.assignable().start()), gap: None, busy: None }
    }

    /// The next guess.
    pub(crate) fn take(&mut self) -> Result<Take> {
        loop {
            let Some((low, high)) = self.next_gap()? else {
                return Ok(if self.busy.is_some() { Take::Busy } else { Take::Exhausted });
            };
            self.cursor = low.checked_add(1);
            self.gap = (low < high).then(|| (low + 1, high));
            let address = self.pool.network.family().address(low);
            if self.pool.gateway == Some(address) {
                continue;
            }
            if mark(self.pool, address)? {
                return Ok(Take::Address(address));
            }
            self.busy.get_or_insert(low);
        }
    }

    /// The last guess was held after all, so what was read is old: the next look reads again, from there on.
    pub(crate) fn missed(&mut self) {
        self.gap = None;
    }

    /// Waits for the transaction that marked the lowest address passed by, but no longer than `patience`.
    ///
    /// Who waits longest gets the mark next, so a crowd in front of one address does not run for it all at once.
    pub(crate) fn wait(&self, patience: Duration) -> Result<()> {
        static WAIT: Plan = Plan::new("SELECT nebula.wait_for_address($1, $2, $3, $4)");
        let Some(busy) = self.busy else { return Ok(()) };
        let address = self.pool.network.family().address(busy);
        WAIT.run(&[
            self.pool.project.into(),
            Inet(address.to_string()).into(),
            key(self.pool, address).into(),
            i32::try_from(patience.as_millis()).unwrap_or(i32::MAX).into(),
        ])
    }

    /// The lowest run of addresses at or above the cursor without a row; quarantine that is over counts as none.
    fn next_gap(&mut self) -> Result<Option<(u128, u128)>> {
        static GAP: Plan = Plan::new(
            // One statement, hence one snapshot: a gap that opens behind the first half while the second half is
            // filled must not look like an exhausted pool. Reads in index order and stops at the first gap.
            "WITH gap AS (
               SELECT g.low, g.ip - 1 AS high
                 FROM (SELECT a.ip, coalesce(lag(a.ip) OVER (ORDER BY a.ip) + 1, $2) AS low
                         FROM nebula.allocation a
                        WHERE a.project_id = $1 AND a.ip BETWEEN $2 AND $3
                          AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp())) g
                WHERE g.ip > g.low ORDER BY g.ip LIMIT 1
             ), top AS (
               SELECT (SELECT a.ip FROM nebula.allocation a
                        WHERE a.project_id = $1 AND a.ip BETWEEN $2 AND $3
                          AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp())
                        ORDER BY a.ip DESC LIMIT 1) AS ip
                WHERE NOT EXISTS (SELECT FROM gap)
             )
             SELECT low, high FROM gap
             UNION ALL
             SELECT coalesce(ip + 1, $2), $3 FROM top WHERE ip IS NULL OR ip < $3",
        );
        if self.gap.is_some() {
            return Ok(self.gap);
        }
        let last = *self.pool.network.assignable().end();
        let Some(from) = self.cursor.filter(|cursor| *cursor <= last) else { return Ok(None) };
        let family = self.pool.network.family();
        let inet = |n| Inet(family.address(n).to_string());
        let read = |row: &crate::plan::Row<'_>| {
            let low = network(&row.need(1)?)?.address;
            let high = network(&row.need(2)?)?.address;
            Ok((number(low), number(high)))
        };
        self.gap = GAP.first(&[self.pool.project.into(), inet(from).into(), inet(last).into()], read)?;
        if self.gap.is_none() {
            self.cursor = None;
        }
        Ok(self.gap)
    }
}

/// How long a session has waited for addresses in flight, and how long it will.
///
/// The server can wait for one lock at a time, but any transaction in flight may give an address back. So the waits
/// on the lowest one are short at first and grow, with a look around in between. The longest outlasts
/// deadlock_timeout, so that two transactions which each hold the other's last hope are told apart from patience:
/// the server ends one of them with 40P01. Marks of the own transaction never block.
pub(crate) struct Patience {
    started: Instant,
    next: Duration,
    limit: Option<Duration>,
}

impl Patience {
    const FIRST: Duration = Duration::from_millis(5);

    /// Starts the clock; lock_timeout is the limit, as for any lock.
    pub(crate) fn new() -> Result<Self> {
        static LIMIT: Plan = Plan::new("SELECT setting::bigint FROM pg_settings WHERE name = 'lock_timeout'");
        let limit = LIMIT.first(&[], |row| row.need::<i64>(1))?.unwrap_or(0).unsigned_abs();
        Ok(Self {
            started: Instant::now(),
            next: Self::FIRST,
            limit: (limit > 0).then(|| Duration::from_millis(limit)),
        })
    }

    /// How long to wait before the next look; `None` when lock_timeout has passed.
    pub(crate) fn next(&mut self) -> Result<Option<Duration>> {
        static DEADLOCK: Plan =
            Plan::new("SELECT setting::bigint FROM pg_settings WHERE name = 'deadlock_timeout'");
        let deadlock = DEADLOCK.first(&[], |row| row.need::<i64>(1))?.unwrap_or(1000).unsigned_abs();
        let longest = Duration::from_millis(deadlock.saturating_mul(2));
        let wait = self.next.min(longest);
        self.next = self.next.saturating_mul(2).min(longest);
        let Some(limit) = self.limit else { return Ok(Some(wait)) };
        let left = limit.saturating_sub(self.started.elapsed());
        Ok((!left.is_zero()).then(|| wait.min(left).max(Duration::from_millis(1))))
    }
}

/// Marks an address as in flight until the transaction ends; `false` when another transaction has it marked.
pub(crate) fn mark(pool: &Pool, address: IpAddr) -> Result<bool> {
    static MARK: Plan = Plan::new("SELECT pg_try_advisory_xact_lock($1)");
    let now = transaction_timestamp().into_inner();
    let set = MARKS.get();
    let count = if set.0 == now { set.1 } else { 0 };
    if count >= MARKS_PER_TRANSACTION {
        return Ok(true);
    }
    let marked = MARK.first(&[key(pool, address).into()], |row| row.need(1))?.unwrap_or(false);
    MARKS.set((now, count + u32::from(marked)));
    Ok(marked)
}

/// The advisory lock key of an address: FNV-1a, so that servers and releases agree. A collision costs a wait.
fn key(pool: &Pool, address: IpAddr) -> i64 {
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let start = b"pg_nebula".iter().fold(0xcbf2_9ce4_8422_2325, hash);
    let project = pool.project.as_bytes().iter().fold(start, hash);
    number(address).to_be_bytes().iter().fold(project, hash).cast_signed()
}
