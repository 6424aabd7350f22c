//! Whether pools of both address families exist.

use std::cell::Cell;

use super::cache;
use crate::pg::error::Result;
use crate::pg::privilege::as_owner;
use crate::pg::statement::Statement;

/// Whether there are IPv4 and IPv6 pools for devices in this database, of whatever project.
pub(crate) fn both_exist() -> Result<bool> {
    static FAMILIES: Statement =
        Statement::new("SELECT FROM nebula.pool WHERE purpose = 'device' GROUP BY pg_catalog.family(cidr)");
    thread_local! {
        /// The answer, and the invalidations of the cache when it was read.
        static KNOWN: Cell<Option<(u64, bool)>> = const { Cell::new(None) };
    }
    let invalidations = cache::invalidations();
    match KNOWN.get() {
        Some((at, both)) if at == invalidations => Ok(both),
        _ => {
            let both = as_owner(|| FAMILIES.query_latest(&[], |_| Ok(())))?.len() > 1;
            KNOWN.set(Some((invalidations, both)));
            Ok(both)
        }
    }
}
