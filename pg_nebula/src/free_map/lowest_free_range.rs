//! The lowest run of addresses without a row.

use pgrx::{Inet, Uuid};

use crate::pg::datum::inet::network;
use crate::pg::error::Result;
use crate::pg::statement::{Row, Statement};
use nebula_core::address::{Family, number};

/// First and last address of the lowest run between `from` and `last` that has no row. A row whose quarantine
/// is over does not count.
///
/// As of now, whatever the snapshot of the transaction shows. Rows of transactions in flight are not visible.
/// One index scan, which stops at the first gap.
pub(crate) fn lowest_free_range(
    project: Uuid,
    family: Family,
    from: u128,
    last: u128,
) -> Result<Option<(u128, u128)>> {
    static RANGE: Statement = Statement::new(
        // One statement, so that both halves read the same snapshot: otherwise an address that is released
        // after the first half and one that is inserted before the second would look like an exhausted pool.
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
    let inet = |n| Inet(family.address(n).to_string());
    let read = |row: &Row<'_>| {
        let low = network(&row.need(1)?)?.address;
        let high = network(&row.need(2)?)?.address;
        Ok((number(low), number(high)))
    };
    let ranges = RANGE.query_latest(&[project.into(), inet(from).into(), inet(last).into()], read)?;
    Ok(ranges.into_iter().next())
}
