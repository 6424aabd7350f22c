//! Moving jobs from nebula.job_waiting to nebula.job_running.

use pgrx::Uuid;
use pgrx::datum::DatumWithOid;

use super::claim::Request;
use crate::error::Result;
use crate::instant::Instant;
use crate::jsonb::Jsonb;
use crate::plan::{Plan, Row};
use crate::wakeup;
use crate::wakeup::head::Key;

/// A claimed job.
pub(super) struct Claimed {
    pub(super) key: Key,
    pub(super) kind: String,
    pub(super) payload: Jsonb,
    pub(super) attempt: i32,
    pub(super) lease_until: Instant,
    pub(super) project: Option<Uuid>,
    /// Not everybody can claim it.
    pinned: bool,
}

impl Claimed {
    /// As claim_jobs answers it.
    pub(super) fn into_row(self) -> (i64, String, Jsonb, i32, Instant) {
        (self.key.job, self.kind, self.payload, self.attempt, self.lease_until)
    }
}

/// The two indexes that claims read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Jobs that any worker can claim.
    Everybodys,
    /// Jobs for workers on a node, or with a capability.
    Pinned,
}

/// The statement with its condition. `= ANY (ARRAY(...))` runs the search once, before the DELETE: joined instead, a LIMIT
/// that is a parameter gets a plan which reads the whole table. $1 kind, $2 how many, $3 worker, $4 lease, $5 limited.
macro_rules! pick_sql {
    ($condition:expr) => {
        concat!(
            "WITH picked AS (
               DELETE FROM nebula.job_waiting WHERE job_id = ANY (ARRAY(
                 SELECT job_id FROM nebula.job_waiting WHERE kind = $1 AND ready AND ",
            $condition,
            " ORDER BY -priority, run_at, job_id LIMIT $2 FOR UPDATE SKIP LOCKED))
               RETURNING *
             )
             INSERT INTO nebula.job_running
                    (job_id, kind, payload, project_id, priority, run_at, attempt, max_attempts, on_dead, node_id,
                     capability, unique_key, errors, enqueued_at, worker, started_at, lease, lease_until, limited)
             SELECT job_id, kind, payload, project_id, priority, run_at, attempt + 1, max_attempts, on_dead, node_id,
                    capability, unique_key, errors, enqueued_at, $3, clock_timestamp(), $4, clock_timestamp() + $4, $5
               FROM picked
             RETURNING -priority, run_at, job_id, kind, payload, attempt, lease_until, project_id,
                       node_id IS NOT NULL OR capability IS NOT NULL"
        )
    };
}
pub(super) use pick_sql;

/// The condition of [`Lane::Everybodys`].
macro_rules! open_to_all {
    () => {
        "node_id IS NULL AND capability IS NULL"
    };
}
pub(super) use open_to_all;

/// The condition of [`Lane::Pinned`] with the worker's node and capabilities.
macro_rules! open_to {
    ($node:literal, $capabilities:literal) => {
        concat!(
            "(node_id IS NOT NULL OR capability IS NOT NULL) AND (node_id IS NULL OR node_id = ",
            $node,
            ") AND (capability IS NULL OR capability = ANY (",
            $capabilities,
            "))"
        )
    };
}
pub(super) use open_to;

/// The first jobs of a kind that any worker can claim.
pub(super) fn everybodys(
    request: &Request<'_>,
    kind: &str,
    count: i32,
    limited: bool,
) -> Result<Vec<Claimed>> {
    static ANYWHERE: Plan = Plan::new(pick_sql!(open_to_all!()));
    static FROM: Plan =
        Plan::new(pick_sql!(concat!(open_to_all!(), " AND (-priority, run_at, job_id) >= ($6, $7, $8)")));
    let Some(start) = wakeup::begin_claim(kind) else {
        return run(&ANYWHERE, request, kind, count, limited, vec![]);
    };
    let Key { rank, run_at, job } = start.key;
    let from = vec![rank.into(), Instant(run_at).into(), job.into()];
    let claimed = run(&FROM, request, kind, count, limited, from)?;
    let enough = claimed.len() >= usize::try_from(count).unwrap_or(usize::MAX);
    let last = claimed.iter().map(|job| job.key).max().filter(|_| enough);
    wakeup::end_claim(kind, start, last.unwrap_or(Key::LAST));
    Ok(claimed)
}

/// The first jobs of a kind that are meant for this worker.
pub(super) fn pinned(request: &Request<'_>, kind: &str, count: i32, limited: bool) -> Result<Vec<Claimed>> {
    static PINNED: Plan = Plan::new(pick_sql!(open_to!("$6", "$7")));
    let more = vec![request.node.into(), request.capabilities.clone().into()];
    run(&PINNED, request, kind, count, limited, more)
}

/// Runs one of the statements; `more` are the parameters from $6 on.
pub(super) fn run(
    plan: &'static Plan,
    request: &Request<'_>,
    kind: &str,
    count: i32,
    limited: bool,
    more: Vec<DatumWithOid<'_>>,
) -> Result<Vec<Claimed>> {
    let mut values = vec![
        kind.into(),
        i64::from(count).into(),
        request.worker.into(),
        request.lease.into(),
        limited.into(),
    ];
    values.extend(more);
    let claimed = plan.rows(&values, read)?;
    // If this is rolled back they are where they were.
    if let Some(first) = claimed.iter().filter(|job| !job.pinned).map(|job| job.key).min() {
        wakeup::job_hidden(kind, first, false);
    }
    Ok(claimed)
}

fn read(row: &Row<'_>) -> Result<Claimed> {
    let run_at: Instant = row.need(2)?;
    Ok(Claimed {
        key: Key { rank: row.need(1)?, run_at: run_at.0, job: row.need(3)? },
        kind: row.need(4)?,
        payload: row.need(5)?,
        attempt: row.need(6)?,
        lease_until: row.need(7)?,
        project: row.get(8)?,
        pinned: row.need(9)?,
    })
}
