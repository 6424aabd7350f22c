//! Claims in SQL.

use pgrx::Uuid;
use pgrx::datum::DatumWithOid;

use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::statement::{Row, Statement};
use crate::queue::claimed_job::ClaimedJob;
use crate::queue::request::ClaimRequest;
use crate::queue::store::OpenClaim;
use nebula_core::scan_hint::QueuePosition;

/// Moves the first jobs that meet a condition to nebula.job_running; skips locked rows. $1 kind, $2 how many,
/// $3 worker, $4 lease, $5 limited; parameters of the condition from $6 on.
///
/// `= ANY (ARRAY(...))` runs the search once, before the DELETE: joined instead, a LIMIT that is a parameter
/// gets a plan which reads the whole table.
macro_rules! claim_sql {
    ($condition:expr) => {
        concat!(
            "WITH claimed AS (
               DELETE FROM nebula.job_waiting WHERE job_id = ANY (ARRAY(
                 SELECT job_id FROM nebula.job_waiting WHERE kind = $1 AND ready AND ",
            $condition,
            " ORDER BY -priority, run_at, job_id LIMIT $2 FOR UPDATE SKIP LOCKED))
               RETURNING *
             )
             INSERT INTO nebula.job_running (",
            job_columns!(),
            ", worker, started_at, lease, lease_until, limited)
             SELECT ",
            job_columns!(attempt = "attempt + 1"),
            ", $3, clock_timestamp(), $4, clock_timestamp() + $4, $5
               FROM claimed
             RETURNING -priority, run_at, job_id, kind, payload, attempt, lease_until, project_id,
                       node_id IS NOT NULL OR capability IS NOT NULL"
        )
    };
}

/// Claims jobs that any worker can claim.
pub(super) fn claim_open(claim: &OpenClaim<'_>) -> Result<Vec<ClaimedJob>> {
    static OPEN: Statement = Statement::new(claim_sql!(concat!(
        open_condition!(),
        " AND (-priority, run_at, job_id) >= ($6, $7, $8)"
    )));
    let from = vec![claim.from.rank.into(), Timestamp(claim.from.run_at).into(), claim.from.job.into()];
    run(&OPEN, claim.request, claim.kind, claim.count, claim.limited, from)
}

/// Claims jobs that only some workers can claim.
pub(in super::super) fn claim_restricted(
    request: &ClaimRequest<'_>,
    kind: &str,
    count: i32,
    limited: bool,
) -> Result<Vec<ClaimedJob>> {
    static RESTRICTED: Statement = Statement::new(claim_sql!(restricted_condition!("$6", "$7")));
    let worker = vec![request.node.into(), request.capabilities.clone().into()];
    run(&RESTRICTED, request, kind, count, limited, worker)
}

/// Claims one job that is of none of these projects.
pub(in super::super) fn claim_one_except(
    request: &ClaimRequest<'_>,
    kind: &str,
    restricted: bool,
    projects: Vec<Uuid>,
) -> Result<Vec<ClaimedJob>> {
    static OPEN: Statement = Statement::new(claim_sql!(concat!(
        open_condition!(),
        " AND (project_id IS NULL OR project_id <> ALL ($6))"
    )));
    static RESTRICTED: Statement = Statement::new(claim_sql!(concat!(
        restricted_condition!("$7", "$8"),
        " AND (project_id IS NULL OR project_id <> ALL ($6))"
    )));
    let mut more = vec![projects.into()];
    if !restricted {
        return run(&OPEN, request, kind, 1, true, more);
    }
    more.extend([request.node.into(), request.capabilities.clone().into()]);
    run(&RESTRICTED, request, kind, 1, true, more)
}

/// Runs a statement of `claim_sql!`; `more` are the parameters of its condition.
fn run(
    statement: &'static Statement,
    request: &ClaimRequest<'_>,
    kind: &str,
    count: i32,
    limited: bool,
    more: Vec<DatumWithOid<'_>>,
) -> Result<Vec<ClaimedJob>> {
    let mut values = vec![
        kind.into(),
        i64::from(count).into(),
        request.worker.into(),
        request.lease.into(),
        limited.into(),
    ];
    values.extend(more);
    statement.query(&values, read)
}

fn read(row: &Row<'_>) -> Result<ClaimedJob> {
    let run_at: Timestamp = row.need(2)?;
    Ok(ClaimedJob {
        key: QueuePosition { rank: row.need(1)?, run_at: run_at.0, job: row.need(3)? },
        kind: row.need(4)?,
        payload: row.need(5)?,
        attempt: row.need(6)?,
        lease_until: row.need(7)?,
        project: row.get(8)?,
        restricted: row.need(9)?,
    })
}
