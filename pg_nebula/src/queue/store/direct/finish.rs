//! Finishing jobs with direct writes.

use pgrx::IntoDatum;

use super::tables::{self, Cell, RUNNING, RUNNING_KEY, Segment, column};
use crate::direct::{FoundRow, IndexScan, KeyValue};
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::session;
use crate::queue::attempt::SucceededAttempt;
use crate::queue::removed_job::RemovedJob;
use crate::queue::store::FinishedJobs;

/// Moves running jobs, given in the order of their identifiers, to nebula.job_finished.
pub(super) fn finish_succeeded(attempts: &[SucceededAttempt]) -> Result<FinishedJobs> {
    let Some(segment) = tables::current_segment()? else {
        return Ok(FinishedJobs { jobs: Vec::new(), needs_sql: true });
    };
    let end = Finish::now("succeeded", segment);
    let keys: Vec<[KeyValue; 1]> = attempts.iter().map(|one| [KeyValue::bigint(one.job)]).collect();
    let searches: Vec<IndexScan<'_>> = keys.iter().map(|key| IndexScan::exact(RUNNING_KEY, key)).collect();
    let moved = RUNNING.move_rows(segment.table, &searches, attempts.len(), true, |row, values| {
        let (job, attempt): (i64, i32) = (row.read(column::JOB_ID)?, row.read(column::ATTEMPT)?);
        let first = attempts.partition_point(|one| one.job < job);
        let mut of_job = attempts[first..].iter().take_while(|one| one.job == job);
        let given = of_job.find(|one| one.attempt == attempt)?;
        end.fill(row, values);
        values[column::RESULT] = given.result.clone().into_datum();
        removed_job(row)
    })?;
    Ok(FinishedJobs { jobs: moved.rows, needs_sql: moved.needs_sql })
}

/// How and when jobs finish.
pub(super) struct Finish {
    state: Cell,
    at: Cell,
    segment: Cell,
}

impl Finish {
    pub(super) fn now(state: &'static str, segment: Segment) -> Self {
        Self {
            state: state.into_datum(),
            at: Timestamp(session::clock()).into_datum(),
            segment: segment.number.into_datum(),
        }
    }

    /// Makes a row of nebula.job_finished, without a result, of one of nebula.job_running.
    pub(super) fn fill(&self, row: &FoundRow<'_>, values: &mut [Cell]) {
        tables::copy_job(row, values);
        values[column::FINISHED_WORKER] = row.get(column::WORKER);
        values[column::FINISHED_STARTED_AT] = row.get(column::STARTED_AT);
        values[column::FINISHED_PROGRESS] = row.get(column::PROGRESS);
        values[column::FINISHED_DETAIL] = row.get(column::DETAIL);
        values[column::STATE] = self.state;
        values[column::RESULT] = None;
        values[column::FINISHED_AT] = self.at;
        values[column::SEGMENT] = self.segment;
    }
}

/// Reads a row of nebula.job_running that is about to be deleted.
pub(super) fn removed_job(row: &FoundRow<'_>) -> Option<RemovedJob> {
    Some(RemovedJob {
        job: row.read(column::JOB_ID)?,
        project: row.read(column::PROJECT_ID),
        unique_key: row.read(column::UNIQUE_KEY),
        limited_kind: if row.read(column::LIMITED)? { Some(row.read(column::KIND)?) } else { None },
    })
}
