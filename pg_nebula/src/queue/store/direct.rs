//! The operations with direct writes: rows are written through the table access method, in tables described
//! by [`tables`].

mod claim;
mod end_attempt;
mod finish;
mod tables;

use pgrx::IntoDatum;

use super::{ClaimedJobs, Decide, ExtendedLease, FinishedJobs, JobStore, OpenClaim};
use crate::direct::{IndexScan, InsertOutcome, KeyValue, UpdateOutcome};
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::{self, Timestamp};
use crate::pg::error::Result;
use crate::pg::session;
use crate::queue::attempt::{EndedAttempt, SucceededAttempt};
use crate::queue::new_job::{NewJob, NewJobs};
use crate::queue::request::Heartbeat;
use tables::{Cell, RUNNING, WAITING, column};
pub(super) use tables::{POLICY, QUOTA};

/// The implementation with direct writes.
pub(super) struct Direct;

impl JobStore for Direct {
    fn insert(job: &NewJob<'_>) -> Result<Option<()>> {
        Ok(WAITING.insert(&new_row(job))?.then_some(()))
    }

    fn insert_many(jobs: &NewJobs<'_>) -> Result<Option<()>> {
        let Some((first, payload)) = jobs.jobs.first().zip(jobs.payloads.first()) else {
            return Ok(Some(()));
        };
        let shared = new_row(&NewJob {
            job: *first,
            kind: jobs.kind,
            payload: payload.clone(),
            project: jobs.project,
            priority: jobs.priority,
            run_at: jobs.run_at,
            max_attempts: jobs.max_attempts,
            on_dead: "cancel",
            node: None,
            capability: None,
            unique_key: None,
            ready: jobs.ready,
            blocked_by: 0,
        });
        let outcome = WAITING.try_insert_all(jobs.jobs.len(), |number, values| {
            values.copy_from_slice(&shared);
            values[column::JOB_ID] = jobs.jobs[number].into_datum();
            values[column::PAYLOAD] = jobs.payloads[number].clone().into_datum();
        })?;
        Ok((outcome == InsertOutcome::Inserted).then_some(()))
    }

    fn claim_open(claim: &OpenClaim<'_>) -> Result<ClaimedJobs> {
        claim::claim_open(claim)
    }

    fn finish_succeeded(attempts: &[SucceededAttempt]) -> Result<FinishedJobs> {
        finish::finish_succeeded(attempts)
    }

    fn end_attempt<'a>(job: i64, attempt: i32, decide: Decide<'_, 'a>) -> Result<Option<EndedAttempt<'a>>> {
        end_attempt::end_attempt(job, attempt, decide)
    }

    fn extend_lease(heartbeat: &Heartbeat) -> Result<Option<ExtendedLease>> {
        let key = [KeyValue::bigint(heartbeat.job)];
        let updated = RUNNING.update(&IndexScan::exact(tables::RUNNING_KEY, &key), |row, values| {
            (row.read(column::ATTEMPT) == Some(heartbeat.attempt)).then_some(())?;
            let extended = ExtendedLease {
                cancel_requested: row.read(column::CANCEL_REQUESTED)?,
                project: row.read(column::PROJECT_ID),
            };
            // Now, because the row may have been waited for.
            let now = Timestamp(session::clock());
            let until = timestamp::later(now, row.read(column::LEASE)?).ok()?;
            values[column::LEASE_UNTIL] = until.into_datum();
            if heartbeat.progress.is_some() {
                values[column::PROGRESS] = heartbeat.progress.into_datum();
            }
            if heartbeat.detail.is_some() {
                values[column::DETAIL] = heartbeat.detail.clone().into_datum();
            }
            Some(extended)
        })?;
        Ok(match updated {
            UpdateOutcome::Updated(extended) => Some(extended),
            UpdateOutcome::NotFound | UpdateOutcome::UseSql => None,
        })
    }
}

/// The row of nebula.job_waiting of a new job.
fn new_row(job: &NewJob<'_>) -> [Cell; tables::WAITING_COLUMNS] {
    let mut values = [None; tables::WAITING_COLUMNS];
    values[column::JOB_ID] = job.job.into_datum();
    values[column::KIND] = job.kind.into_datum();
    values[column::PAYLOAD] = job.payload.clone().into_datum();
    values[column::PROJECT_ID] = job.project.into_datum();
    values[column::PRIORITY] = job.priority.into_datum();
    values[column::RUN_AT] = Timestamp(job.run_at).into_datum();
    values[column::ATTEMPT] = 0_i32.into_datum();
    values[column::MAX_ATTEMPTS] = job.max_attempts.into_datum();
    values[column::ON_DEAD] = job.on_dead.into_datum();
    values[column::NODE_ID] = job.node.into_datum();
    values[column::CAPABILITY] = job.capability.into_datum();
    values[column::UNIQUE_KEY] = job.unique_key.into_datum();
    values[column::ERRORS] = Jsonb::empty_array().into_datum();
    values[column::ENQUEUED_AT] = Timestamp(session::transaction_start()).into_datum();
    values[column::READY] = job.ready.into_datum();
    values[column::BLOCKED_BY] = job.blocked_by.into_datum();
    values
}
