//! Which kinds have the first jobs, when a worker claims several, or jobs that are not for everybody.

use super::claim_rows::{Lane, open_to, open_to_all};
use super::request::ClaimRequest;
use crate::notify::scan;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::statement::{Row, Statement};
use nebula_core::scan_hint::QueuePosition;

/// How many of the first jobs lie in one lane of a kind.
pub(super) struct Share {
    pub(super) kind: String,
    pub(super) lane: Lane,
    pub(super) count: i32,
}

/// The first `count` jobs of all these kinds, counted by where they lie. Locks nothing.
pub(super) fn shares(request: &ClaimRequest<'_>, kinds: &[String], count: i32) -> Result<Vec<Share>> {
    // Each lane is read in the order of its index, and no further than needed.
    static SHARES: Statement = Statement::new(concat!(
        "SELECT kind, pinned, count(*)::integer FROM (
           SELECT k.kind, false AS pinned, h.rank, h.run_at, h.job_id
             FROM unnest($1, $2, $3, $4) AS k(kind, rank, run_at, job_id)
            CROSS JOIN LATERAL (
              SELECT -priority AS rank, w.run_at, w.job_id FROM nebula.job_waiting w
               WHERE w.kind = k.kind AND ready AND ",
        open_to_all!(),
        " AND (-priority, w.run_at, w.job_id) >= (k.rank, k.run_at, k.job_id)
               ORDER BY -priority, w.run_at, w.job_id LIMIT $5) h
           UNION ALL
           SELECT k.kind, true, h.rank, h.run_at, h.job_id FROM unnest($1) AS k(kind)
            CROSS JOIN LATERAL (
              SELECT -priority AS rank, w.run_at, w.job_id FROM nebula.job_waiting w
               WHERE w.kind = k.kind AND ready AND ",
        open_to!("$6", "$7"),
        " ORDER BY -priority, w.run_at, w.job_id LIMIT $5) h
            WHERE $6 IS NOT NULL OR $7 <> '{}'
           ORDER BY rank, run_at, job_id LIMIT $5) AS first
          GROUP BY kind, pinned"
    ));
    let starts: Vec<QueuePosition> = kinds
        .iter()
        .map(|kind| {
            let start = scan::begin_claim(kind)?;
            if start.is_full_scan() {
                // Whoever moves the jobs it finds must find them, too.
                scan::forget_scan_hint(kind);
            }
            Some(start.position)
        })
        .map(|key| key.unwrap_or(QueuePosition::FIRST))
        .collect();
    let values = [
        kinds.to_vec().into(),
        starts.iter().map(|key| key.rank).collect::<Vec<_>>().into(),
        starts.iter().map(|key| Timestamp(key.run_at)).collect::<Vec<_>>().into(),
        starts.iter().map(|key| key.job).collect::<Vec<_>>().into(),
        i64::from(count).into(),
        request.node.into(),
        request.capabilities.clone().into(),
    ];
    SHARES.query(&values, |row: &Row<'_>| {
        let lane = if row.need(2)? { Lane::Pinned } else { Lane::Everybodys };
        Ok(Share { kind: row.need(1)?, lane, count: row.need(3)? })
    })
}
