//! Marks on addresses that a transaction is about to hold, where no shared memory says so: other sessions pass them by.
//!
//! Only a courtesy between sessions: the insert decides, and a collision of marks costs a wait.

use std::cell::Cell;

use nebula_core::fnv::Fnv1a;

use crate::pg::error::Result;
use crate::pg::session::transaction_start;
use crate::pg::statement::Statement;
use crate::pools::pool::Pool;

/// Most marks one transaction sets. They share the server's lock table, which has 64 places a session; beyond this a
/// bulk transaction goes unmarked and others wait for its rows instead of passing them by.
const MARKS_PER_TRANSACTION: u32 = 48;

thread_local! {
    /// Start of the transaction that set marks last, and how many.
    static MARKS: Cell<(i64, u32)> = const { Cell::new((0, 0)) };
}

/// Marks an address as in flight until the transaction ends; `false` when another transaction has it marked.
pub(crate) fn mark(pool: &Pool, address: u128) -> Result<bool> {
    static MARK: Statement = Statement::new("SELECT pg_try_advisory_xact_lock($1)");
    let transaction = transaction_start();
    let (last, count) = MARKS.get();
    let count = if last == transaction { count } else { 0 };
    if count >= MARKS_PER_TRANSACTION {
        return Ok(true);
    }
    let marked = MARK.query_opt(&[key(pool, address).into()], |row| row.need(1))?.unwrap_or(false);
    // Only what is held takes a place; a walk through a crowd of marked addresses must not use them up.
    MARKS.set((transaction, count + u32::from(marked)));
    Ok(marked)
}

/// The advisory lock key of an address. It must stay the same from version to version: during an upgrade, sessions with
/// the old and the new library lock the same addresses. A collision costs a wait.
fn key(pool: &Pool, address: u128) -> i64 {
    let hash = Fnv1a::EMPTY.bytes(b"pg_nebula").bytes(pool.project.as_bytes()).bytes(&address.to_be_bytes());
    hash.finish().cast_signed()
}
