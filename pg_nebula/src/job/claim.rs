//! Claiming due jobs.

use pgrx::Uuid;
use pgrx::prelude::*;

use super::lease;
use crate::error::{Error, Result};
use crate::jsonb::Jsonb;
use crate::plan::{Plan, Row};
use crate::wakeup;

pub(super) struct Claimed {
    pub(super) id: i64,
    pub(super) kind: String,
    pub(super) payload: Jsonb,
    pub(super) attempt: i32,
    pub(super) lease_until: TimestampWithTimeZone,
    project: Option<Uuid>,
}

/// The claim with its condition on the kind. `= ANY (ARRAY(...))` runs the search once, before the DELETE:
/// joined instead, a LIMIT that is a parameter gets a plan which reads the whole table.
macro_rules! claim_sql {
    ($kind:literal) => {
        concat!(
            "WITH picked AS (
               DELETE FROM nebula.job_waiting WHERE job_id = ANY (ARRAY(
                 SELECT job_id FROM nebula.job_waiting
                  WHERE ",
            $kind,
            " AND blocked_by = 0 AND run_at <= now() AND (node_id IS NULL OR node_id = $5)
                  ORDER BY priority DESC, run_at, job_id LIMIT $2 FOR UPDATE SKIP LOCKED))
               RETURNING *
             ), started AS (
               INSERT INTO nebula.job_running
                      (job_id, kind, payload, project_id, priority, attempt, max_attempts, node_id, unique_key, errors,
                       enqueued_at, worker, started_at, lease, lease_until)
               SELECT job_id, kind, payload, project_id, priority, attempt + 1, max_attempts, node_id, unique_key,
                      errors, enqueued_at, $3, clock_timestamp(), $4, clock_timestamp() + $4
                 FROM picked
               RETURNING *
             )
             SELECT s.job_id, s.kind, s.payload, s.attempt, s.lease_until, s.project_id
               FROM started s JOIN picked p USING (job_id) ORDER BY p.priority DESC, p.run_at, p.job_id"
        )
    };
}

pub(super) fn claim(
    worker: &str,
    kinds: Vec<String>,
    max: i32,
    duration: Interval,
    node: Option<Uuid>,
) -> Result<Vec<Claimed>> {
    // One kind is read in index order; several are sorted.
    static ONE: Plan = Plan::new(claim_sql!("kind = $1"));
    static MANY: Plan = Plan::new(claim_sql!("kind = ANY ($1)"));
    check(worker, &kinds, max, duration)?;
    lease::rescue()?;
    let (plan, kinds) = match <[String; 1]>::try_from(kinds) {
        Ok([kind]) => (&ONE, kind.into()),
        Err(kinds) => (&MANY, kinds.into()),
    };
    let read = |row: &Row<'_>| {
        Ok(Claimed {
            id: row.need(1)?,
            kind: row.need(2)?,
            payload: row.need(3)?,
            attempt: row.need(4)?,
            lease_until: row.need(5)?,
            project: row.get(6)?,
        })
    };
    let claimed =
        plan.rows(&[kinds, i64::from(max).into(), worker.into(), duration.into(), node.into()], read)?;
    for job in &claimed {
        wakeup::job_event(job.project, job.id, "claim")?;
    }
    Ok(claimed)
}

fn check(worker: &str, kinds: &[String], max: i32, duration: Interval) -> Result<()> {
    static POSITIVE: Plan = Plan::new("SELECT WHERE $1 > interval '0'");
    if worker.is_empty() {
        return Err(Error::bad_argument(
            "worker is empty",
            "Give the worker a name that tells it apart from others.",
        ));
    }
    if kinds.is_empty() {
        return Err(Error::bad_argument("kinds is empty", "Name the kinds of job this worker can do."));
    }
    if max < 1 {
        return Err(Error::bad_argument(format!("max is {max}"), "Ask for at least one job."));
    }
    if !POSITIVE.hits(&[duration.into()])? {
        return Err(Error::bad_argument("lease must be longer than zero", "For example interval '30 s'."));
    }
    Ok(())
}
