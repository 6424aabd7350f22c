//! The operations in SQL.

mod claim;

use super::{ClaimedJobs, Decide, ExtendedLease, FinishedJobs, JobStore, OpenClaim, RunningByProject};
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Error, Result};
use crate::pg::statement::{Row, Statement};
use crate::queue::attempt::{Attempt, AttemptEnd, EndedAttempt, SucceededAttempt};
use crate::queue::error::lost;
use crate::queue::new_job::{NewJob, NewJobs};
use crate::queue::position::Position;
use crate::queue::removed_job::RemovedJob;
use crate::queue::request::Heartbeat;
pub(super) use claim::{claim_one_except, claim_restricted};

/// The implementation in SQL.
pub(super) struct Sql;

impl JobStore for Sql {
    fn insert(job: &NewJob<'_>) -> Result<Option<()>> {
        static INSERT: Statement = Statement::new(concat!(
            "INSERT INTO nebula.job_waiting (",
            job_columns!(),
            ", ready, blocked_by)
             VALUES ($1, $2, $3, $4, $5, $6, DEFAULT, $7, $8, $9, $10, $11, DEFAULT, DEFAULT, $12, $13)"
        ));
        INSERT
            .run(&[
                job.job.into(),
                job.kind.into(),
                job.payload.clone().into(),
                job.project.into(),
                job.priority.into(),
                Timestamp(job.run_at).into(),
                job.max_attempts.into(),
                job.on_dead.into(),
                job.node.into(),
                job.capability.into(),
                job.unique_key.into(),
                job.ready.into(),
                job.blocked_by.into(),
            ])
            .map(Some)
    }

    fn insert_many(jobs: &NewJobs<'_>) -> Result<Option<()>> {
        static INSERT: Statement = Statement::new(
            "INSERT INTO nebula.job_waiting
                    (job_id, kind, payload, project_id, priority, run_at, ready, max_attempts)
             SELECT job_id, $3, payload, $4, $5, $6, $7, $8 FROM unnest($1, $2) AS new(job_id, payload)",
        );
        INSERT
            .run(&[
                jobs.jobs.clone().into(),
                jobs.payloads.clone().into(),
                jobs.kind.into(),
                jobs.project.into(),
                jobs.priority.into(),
                Timestamp(jobs.run_at).into(),
                jobs.ready.into(),
                jobs.max_attempts.into(),
            ])
            .map(Some)
    }

    fn claim_open(claim: &OpenClaim<'_>) -> Result<ClaimedJobs> {
        Ok(ClaimedJobs { jobs: claim::claim_open(claim)?, skip_points: Vec::new(), needs_sql: false })
    }

    fn finish_succeeded(attempts: &[SucceededAttempt]) -> Result<FinishedJobs> {
        let numbers: Vec<(i64, i32)> = attempts.iter().map(|one| (one.job, one.attempt)).collect();
        let results = attempts.iter().map(|one| one.result.clone()).collect();
        Ok(FinishedJobs { jobs: finish(&numbers, results, "succeeded", None)?, needs_sql: false })
    }

    fn end_attempt<'a>(job: i64, attempt: i32, decide: Decide<'_, 'a>) -> Result<Option<EndedAttempt<'a>>> {
        static LOCK: Statement = Statement::new(concat!(
            "SELECT ",
            attempt_columns!(),
            " FROM nebula.job_running WHERE job_id = $1 AND attempt = $2 FOR UPDATE"
        ));
        let locked = LOCK.query_opt(&[job.into(), attempt.into()], Attempt::read)?;
        let locked = locked.ok_or_else(|| lost(job, attempt))?;
        end_locked(&locked, decide(&locked)).map(Some)
    }

    fn extend_lease(heartbeat: &Heartbeat) -> Result<Option<ExtendedLease>> {
        static EXTEND: Statement = Statement::new(
            "UPDATE nebula.job_running
                SET lease_until = clock_timestamp() + lease, progress = coalesce($3, progress),
                    detail = coalesce($4, detail)
              WHERE job_id = $1 AND attempt = $2 RETURNING cancel_requested, project_id",
        );
        let (job, attempt) = (heartbeat.job, heartbeat.attempt);
        let values = [job.into(), attempt.into(), heartbeat.progress.into(), heartbeat.detail.clone().into()];
        let extended = EXTEND.query_opt(&values, |row| {
            Ok(ExtendedLease { cancel_requested: row.need(1)?, project: row.get(2)? })
        })?;
        extended.ok_or_else(|| lost(job, attempt)).map(Some)
    }
}

/// Whether jobs wait for this one, or with `None`, for any. Needs the owner's privileges.
pub(in super::super) fn has_children(parent: Option<i64>) -> Result<bool> {
    static ONE: Statement = Statement::new("SELECT FROM nebula.job_dependency WHERE parent_id = $1 LIMIT 1");
    static ANY: Statement = Statement::new("SELECT FROM nebula.job_dependency LIMIT 1");
    let found = match parent {
        Some(parent) => ONE.query_latest(&[parent.into()], |_| Ok(()))?,
        None => ANY.query_latest(&[], |_| Ok(()))?,
    };
    Ok(!found.is_empty())
}

/// Running jobs by project: those of a limited kind, or of all limited kinds.
pub(in super::super) fn count_limited(kind: Option<&str>) -> Result<RunningByProject> {
    static KIND: Statement = Statement::new(
        "SELECT project_id, count(*) FROM nebula.job_running
          WHERE limited AND kind = $1 GROUP BY project_id",
    );
    static ALL: Statement = Statement::new(
        "SELECT project_id, count(*) FROM nebula.job_running WHERE limited GROUP BY project_id",
    );
    let read = |row: &Row<'_>| Ok((row.get(1)?, row.need(2)?));
    let counted = match kind {
        Some(kind) => KIND.query_latest(&[kind.into()], read)?,
        None => ALL.query_latest(&[], read)?,
    };
    Ok(counted.into_iter().collect())
}

/// Finishes running jobs in a state, and records an error if there is one; leaves other attempts alone.
fn finish(
    attempts: &[(i64, i32)],
    results: Vec<Option<Jsonb>>,
    state: &str,
    error: Option<&str>,
) -> Result<Vec<RemovedJob>> {
    static FINISH: Statement = Statement::new(concat!(
        "WITH removed AS (
           DELETE FROM nebula.job_running r USING unnest($1, $2, $3) AS given(job_id, attempt, result)
            WHERE r.job_id = given.job_id AND r.attempt = given.attempt RETURNING r.*, given.result
         ), finished AS (
           INSERT INTO nebula.job_finished (",
        job_columns!(),
        ", state, result, worker, progress, detail, started_at, segment)
           SELECT ",
        job_columns!(errors = errors_with_optional!("$5")),
        ", $4, result, worker, progress, detail, started_at, ",
        current_segment!(),
        " FROM removed
         )
         SELECT ",
        removed_columns!(),
        " FROM removed"
    ));
    let (jobs, attempts): (Vec<i64>, Vec<i32>) = attempts.iter().copied().unzip();
    let values = [jobs.into(), attempts.into(), results.into(), state.into(), error.into()];
    FINISH.query(&values, RemovedJob::read)
}

/// Locks attempts whose lease ended before `now`; returns them with their workers. Skips locked rows: a
/// worker that is extending its lease just now keeps the job. So does one that could not extend it, because
/// the server was down, for the time that it needs to come back.
pub(in super::super) fn lock_expired(now: Timestamp) -> Result<Vec<(Attempt, String)>> {
    static EXPIRED: Statement = Statement::new(concat!(
        "SELECT ",
        attempt_columns!(),
        ", worker FROM nebula.job_running
           WHERE lease_until < $1 AND coalesce(",
        lease_after_outage!(),
        " < $1, true)
           ORDER BY job_id FOR UPDATE SKIP LOCKED"
    ));
    EXPIRED.query(&[now.into()], |row| Ok((Attempt::read(row)?, row.need(6)?)))
}

/// Ends an attempt that is locked.
pub(in super::super) fn end_locked<'a>(attempt: &Attempt, end: AttemptEnd<'a>) -> Result<EndedAttempt<'a>> {
    static MORE: Statement =
        Statement::new("UPDATE nebula.job_running SET max_attempts = max_attempts + $2 WHERE job_id = $1");
    let missing = || Error::corrupt_schema("row of a locked job");
    if let Some(state) = end.final_state {
        let removed = finish(&[(attempt.job, attempt.attempt)], vec![None], state, end.error)?;
        let removed = removed.into_iter().next().ok_or_else(missing)?;
        return Ok(EndedAttempt { end, removed, requeued: None });
    }
    if end.extra_attempts > 0 {
        MORE.run(&[attempt.job.into(), end.extra_attempts.into()])?;
    }
    let (removed, position) = requeue(attempt.job, &end)?.ok_or_else(missing)?;
    Ok(EndedAttempt { end, removed, requeued: Some(position) })
}

/// Moves a running job back to nebula.job_waiting.
fn requeue(job: i64, end: &AttemptEnd<'_>) -> Result<Option<(RemovedJob, Position)>> {
    static REQUEUE: Statement = Statement::new(concat!(
        "WITH removed AS (
           DELETE FROM nebula.job_running WHERE job_id = $1 RETURNING *
         ), back AS (
           INSERT INTO nebula.job_waiting (",
        job_columns!(),
        ", ready)
           SELECT ",
        job_columns!(
            run_at = "coalesce(clock_timestamp() + make_interval(secs => $3), run_at)",
            errors = errors_with_optional!("$2")
        ),
        ", $3 IS NULL
             FROM removed
           RETURNING ",
        position_columns!(),
        ")
         SELECT ",
        removed_columns!(),
        ", back.* FROM removed, back"
    ));
    let values = [job.into(), end.error.into(), end.delay.into()];
    REQUEUE.query_opt(&values, |row| Ok((RemovedJob::read(row)?, Position::read_from(row, 5)?)))
}
