//! How an attempt ends well, and what is left to do after any end.

use crate::pg::session;
use pgrx::{IntoDatum, Uuid};

use super::error::lost;
use super::position::{kept, segment};
use super::row::{self, RUNNING, RUNNING_BY_JOB, column};
use super::{dependency, project_limit, unique_key};
use crate::direct::{FoundRow, IndexScan, KeyValue};
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Error, Result};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::session::snapshot_is_fixed;
use crate::pg::statement::{Row, Statement};
use nebula_core::job_event::JobAction;

use crate::notify;

/// What is left to do when a row has left nebula.job_running.
pub(super) struct Gone {
    pub(super) job: i64,
    pub(super) project: Option<Uuid>,
    unique_key: Option<String>,
    /// Its kind is limited, so another may start now.
    limited: Option<String>,
}

/// The columns that [`Gone::read`] reads, of the row that was deleted.
macro_rules! gone {
    () => {
        "gone.job_id, gone.project_id, gone.unique_key, CASE WHEN gone.limited THEN gone.kind END"
    };
}
pub(super) use gone;

impl Gone {
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self { job: row.need(1)?, project: row.get(2)?, unique_key: row.get(3)?, limited: row.get(4)? })
    }

    pub(super) fn of(row: &FoundRow<'_>) -> Option<Self> {
        Some(Self {
            job: row.read(column::JOB)?,
            project: row.read(column::PROJECT),
            unique_key: row.read(column::UNIQUE_KEY),
            limited: if row.read(column::LIMITED)? { Some(row.read(column::KIND)?) } else { None },
        })
    }

    pub(super) fn free_key(&self) -> Result<()> {
        match &self.unique_key {
            Some(key) => as_owner_by_index(|| unique_key::free(key, self.job)),
            None => Ok(()),
        }
    }

    /// Another job of a limited kind may start, and of any kind where its project is limited.
    pub(super) fn make_room(&self) -> Result<()> {
        let Some(kind) = &self.limited else { return Ok(()) };
        notify::job_available(kind, None)?;
        match self.project {
            Some(project) if project_limit::has(project)? => notify::job_available(notify::ANY_KIND, None),
            _ => Ok(()),
        }
    }
}

/// An attempt that a worker says has ended well.
struct Done {
    job: i64,
    attempt: i32,
    result: Option<Jsonb>,
}

pub(super) fn complete(job: i64, attempt: i32, result: Option<Jsonb>) -> Result<()> {
    if succeed(vec![Done { job, attempt, result }])?.is_empty() { Err(lost(job, attempt)) } else { Ok(()) }
}

/// Completes many jobs; answers those that were still whose attempt it was, in no order.
pub(super) fn complete_all(
    jobs: Vec<i64>,
    attempts: Vec<i32>,
    results: Option<Vec<Option<Jsonb>>>,
) -> Result<Vec<i64>> {
    let one_each = |what: &str, count: usize| {
        if count == jobs.len() {
            return Ok(());
        }
        Err(Error::bad_argument(
            format!("there are {} job_ids and {count} {what}", jobs.len()),
            format!("Give one of {what} for each job."),
        ))
    };
    one_each("attempts", attempts.len())?;
    let results = match results {
        Some(results) => {
            one_each("results", results.len())?;
            results
        }
        None => vec![None; jobs.len()],
    };
    let given = jobs.into_iter().zip(attempts).zip(results);
    let mut done: Vec<Done> = given.map(|((job, attempt), result)| Done { job, attempt, result }).collect();
    // In one order for everybody, against deadlocks.
    done.sort_by_key(|done| done.job);
    succeed(done)
}

/// Finishes jobs, given in order, as succeeded; answers those that were still whose attempt it was.
fn succeed(done: Vec<Done>) -> Result<Vec<i64>> {
    let (mut all, rest) = below_sql(done)?;
    if !rest.is_empty() {
        let (mut attempts, mut results) = (Vec::new(), Vec::new());
        for done in rest {
            attempts.push((done.job, done.attempt));
            results.push(done.result);
        }
        all.extend(as_owner_by_index(|| by_sql(&attempts, results, "succeeded", None))?);
    }
    // Looks anew: children enqueued while a row was waited for are seen now, and no more can come.
    let with_children = match &all[..] {
        [] | [_] => true,
        _ => dependency::has_any()?,
    };
    for gone in &all {
        gone.free_key()?;
        if with_children {
            dependency::release_children(gone.job)?;
        }
        gone.make_room()?;
        notify::job_event(gone.project, gone.job, JobAction::Complete)?;
    }
    Ok(all.into_iter().map(|gone| gone.job).collect())
}

/// What `by_sql` does for those that succeeded, at a tenth of its cost; those that need it are left over.
fn below_sql(done: Vec<Done>) -> Result<(Vec<Gone>, Vec<Done>)> {
    // What a fixed snapshot does not show must be told with 40001, which SQL does.
    let Some((number, finished)) = row::present_segment()?.filter(|_| !snapshot_is_fixed()) else {
        return Ok((Vec::new(), done));
    };
    let (state, now, number) =
        ("succeeded".into_datum(), Timestamp(session::clock()).into_datum(), number.into_datum());
    let keys: Vec<[KeyValue; 1]> = done.iter().map(|one| [KeyValue::bigint(one.job)]).collect();
    let searches: Vec<IndexScan<'_>> = keys.iter().map(|key| IndexScan::exact(RUNNING_BY_JOB, key)).collect();
    let moved = RUNNING.move_rows(finished, &searches, done.len(), true, |row, values| {
        let (job, attempt): (i64, i32) = (row.read(column::JOB)?, row.read(column::ATTEMPT)?);
        let first = done.partition_point(|one| one.job < job);
        let one = done[first..].iter().take_while(|one| one.job == job).find(|one| one.attempt == attempt)?;
        row::finish(row, values, &[state, one.result.clone().into_datum(), now, number]);
        Gone::of(row)
    })?;
    let rest = if moved.needs_sql {
        let is_left = |one: &Done| moved.rows.iter().all(|gone| gone.job != one.job);
        done.into_iter().filter(is_left).collect()
    } else {
        Vec::new()
    };
    Ok((moved.rows, rest))
}

/// Finishes running jobs in a state, with what went wrong if anything did; those of another attempt are left alone.
pub(super) fn by_sql(
    attempts: &[(i64, i32)],
    results: Vec<Option<Jsonb>>,
    state: &str,
    error: Option<&str>,
) -> Result<Vec<Gone>> {
    static FINISH: Statement = Statement::new(concat!(
        "WITH gone AS (
           DELETE FROM nebula.job_running r USING unnest($1, $2, $3) AS given(job_id, attempt, result)
            WHERE r.job_id = given.job_id AND r.attempt = given.attempt RETURNING r.*, given.result
         ), finished AS (
           INSERT INTO nebula.job_finished (",
        kept!(),
        ", state, errors, result, worker, progress, detail, started_at, segment)
           SELECT ",
        kept!(),
        ", $4,
                  CASE WHEN $5 IS NULL THEN errors ELSE errors || jsonb_build_object(
                    'attempt', attempt, 'at', clock_timestamp(), 'worker', worker, 'error', $5) END,
                  result, worker, progress, detail, started_at, ",
        segment!(),
        " FROM gone
         )
         SELECT ",
        gone!(),
        " FROM gone"
    ));
    let (jobs, attempts): (Vec<i64>, Vec<i32>) = attempts.iter().copied().unzip();
    FINISH.query(&[jobs.into(), attempts.into(), results.into(), state.into(), error.into()], Gone::read)
}
