//! The two indexes that claims read, and which of them holds the first jobs.

use nebula_core::scan_hint::QueuePosition;

use super::request::ClaimRequest;
use crate::notify::scan;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::statement::{Row, Statement};

/// The two indexes on the claimable jobs of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimIndex {
    /// Jobs that any worker can claim.
    Open,
    /// Jobs for workers on a node, or with a capability.
    Restricted,
}

/// How many of the first jobs of several kinds are of this one and lie in this index.
pub(super) struct FirstJobs {
    pub(super) kind: String,
    pub(super) index: ClaimIndex,
    pub(super) count: i32,
}

/// Counts the first `count` jobs of all these kinds by kind and index. Locks nothing.
pub(super) fn count_first(
    request: &ClaimRequest<'_>,
    kinds: &[String],
    count: i32,
) -> Result<Vec<FirstJobs>> {
    // Each index is read in its order, and no further than needed.
    static FIRST: Statement = Statement::new(concat!(
        "SELECT kind, restricted, count(*)::integer FROM (
           SELECT k.kind, false AS restricted, h.rank, h.run_at, h.job_id
             FROM unnest($1, $2, $3, $4) AS k(kind, rank, run_at, job_id)
            CROSS JOIN LATERAL (
              SELECT -priority AS rank, w.run_at, w.job_id FROM nebula.job_waiting w
               WHERE w.kind = k.kind AND ready AND ",
        open_condition!(),
        " AND (-priority, w.run_at, w.job_id) >= (k.rank, k.run_at, k.job_id)
               ORDER BY -priority, w.run_at, w.job_id LIMIT $5) h
           UNION ALL
           SELECT k.kind, true, h.rank, h.run_at, h.job_id FROM unnest($1) AS k(kind)
            CROSS JOIN LATERAL (
              SELECT -priority AS rank, w.run_at, w.job_id FROM nebula.job_waiting w
               WHERE w.kind = k.kind AND ready AND ",
        restricted_condition!("$6", "$7"),
        " ORDER BY -priority, w.run_at, w.job_id LIMIT $5) h
            WHERE $6 IS NOT NULL OR $7 <> '{}'
           ORDER BY rank, run_at, job_id LIMIT $5) AS first
          GROUP BY kind, restricted"
    ));
    let starts: Vec<QueuePosition> = kinds.iter().map(|kind| scan_start(kind)).collect();
    let values = [
        kinds.to_vec().into(),
        starts.iter().map(|start| start.rank).collect::<Vec<_>>().into(),
        starts.iter().map(|start| Timestamp(start.run_at)).collect::<Vec<_>>().into(),
        starts.iter().map(|start| start.job).collect::<Vec<_>>().into(),
        i64::from(count).into(),
        request.node.into(),
        request.capabilities.clone().into(),
    ];
    FIRST.query(&values, |row: &Row<'_>| {
        let index = if row.need(2)? { ClaimIndex::Restricted } else { ClaimIndex::Open };
        Ok(FirstJobs { kind: row.need(1)?, index, count: row.need(3)? })
    })
}

/// The position before which no job of a kind can be claimed.
fn scan_start(kind: &str) -> QueuePosition {
    let Some(start) = scan::begin_claim(kind) else { return QueuePosition::FIRST };
    if start.is_full_scan() {
        // The claim of the jobs that are counted here must do a full scan too, to find them all.
        scan::forget_scan_hint(kind);
    }
    start.position
}
