//! How an attempt ends.

use pgrx::{IntoDatum, Uuid};

use super::lease::lost;
use super::place::{Place, kept, place, segment};
use super::row::{self, KEPT, RUNNING, column};
use super::{dependency, key, quota};
use crate::backoff;
use crate::error::{Error, Result};
use crate::instant::Instant;
use crate::jsonb::Jsonb;
use crate::map::{self, snapshot_is_fixed};
use crate::plan::{Plan, Row, as_owner_by_index};
use crate::table::{Found, Search, Value};
use crate::wakeup::{self, Action};

/// A running attempt whose row this transaction has locked.
pub(super) struct Attempt {
    job: i64,
    attempt: i32,
    max_attempts: i32,
    cancel_requested: bool,
    /// 0 to 1, for the jitter of the backoff.
    random: f64,
}

/// The columns that [`Attempt::read`] reads.
macro_rules! attempt {
    () => {
        "job_id, attempt, max_attempts, cancel_requested, random()"
    };
}
pub(super) use attempt;

impl Attempt {
    /// Reads the columns that `attempt!()` names.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            job: row.need(1)?,
            attempt: row.need(2)?,
            max_attempts: row.need(3)?,
            cancel_requested: row.need(4)?,
            random: row.need(5)?,
        })
    }

    /// Locks an attempt; the error when it has lost its lease.
    fn lock(job: i64, attempt: i32) -> Result<Self> {
        static LOCK: Plan = Plan::new(concat!(
            "SELECT ",
            attempt!(),
            " FROM nebula.job_running WHERE job_id = $1 AND attempt = $2 FOR UPDATE"
        ));
        LOCK.first(&[job.into(), attempt.into()], Self::read)?.ok_or_else(|| lost(job, attempt))
    }
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Retry,
    Dead,
    Cancelled,
}

/// The state machine's only choice.
fn next(attempt: &Attempt, retryable: bool) -> Next {
    if attempt.cancel_requested {
        Next::Cancelled
    } else if retryable && attempt.attempt < attempt.max_attempts {
        Next::Retry
    } else {
        Next::Dead
    }
}

/// What is left to do when a row has left nebula.job_running.
struct Gone {
    job: i64,
    project: Option<Uuid>,
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

impl Gone {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self { job: row.need(1)?, project: row.get(2)?, unique_key: row.get(3)?, limited: row.get(4)? })
    }

    fn of(row: &Found<'_>) -> Option<Self> {
        Some(Self {
            job: row.read(column::JOB)?,
            project: row.read(column::PROJECT),
            unique_key: row.read(column::UNIQUE_KEY),
            limited: if row.read(column::LIMITED)? { Some(row.read(column::KIND)?) } else { None },
        })
    }

    fn free_key(&self) -> Result<()> {
        match &self.unique_key {
            Some(key) => as_owner_by_index(|| key::free(key, self.job)),
            None => Ok(()),
        }
    }

    /// Another job of a limited kind may start, and of any kind where its project is limited.
    fn make_room(&self) -> Result<()> {
        let Some(kind) = &self.limited else { return Ok(()) };
        wakeup::job_available(kind, None)?;
        match self.project {
            Some(project) if quota::has(project)? => wakeup::job_available(wakeup::ANY_KIND, None),
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

/// Finishes jobs as succeeded; answers those that were still whose attempt it was.
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
    for gone in &all {
        gone.free_key()?;
        // Looks anew: children enqueued while the row was waited for are seen now.
        dependency::release_children(gone.job)?;
        gone.make_room()?;
        wakeup::job_event(gone.project, gone.job, Action::Complete)?;
    }
    Ok(all.into_iter().map(|gone| gone.job).collect())
}

/// What `by_sql` does for those that succeeded, at a tenth of its cost; those that need it are left over.
fn below_sql(done: Vec<Done>) -> Result<(Vec<Gone>, Vec<Done>)> {
    // What a fixed snapshot does not show must be told with 40001, which SQL does.
    let Some((number, finished)) = row::present_segment()?.filter(|_| !snapshot_is_fixed()) else {
        return Ok((Vec::new(), done));
    };
    let mut all = Vec::with_capacity(done.len());
    let mut rest = done.into_iter();
    while let Some(one) = rest.next() {
        let key = [Value::bigint(one.job)];
        let own = [
            "succeeded".into_datum(),
            one.result.clone().into_datum(),
            Instant(map::clock()).into_datum(),
            number.into_datum(),
        ];
        let mut moved = RUNNING.transfer(
            finished,
            &Search::exact(c"job_running_pkey", &key),
            1,
            true,
            |row, values| {
                (row.read(column::ATTEMPT) == Some(one.attempt)).then_some(())?;
                row::keep(row, values);
                for (value, from) in values[KEPT..].iter_mut().zip([
                    column::WORKER,
                    column::STARTED_AT,
                    column::PROGRESS,
                    column::DETAIL,
                ]) {
                    *value = row.get(from);
                }
                values[KEPT + 4..].copy_from_slice(&own);
                Gone::of(row)
            },
        )?;
        if moved.needs_sql {
            return Ok((all, std::iter::once(one).chain(rest).collect()));
        }
        all.append(&mut moved.rows);
    }
    Ok((all, Vec::new()))
}

/// Finishes running jobs in a state, with what went wrong if anything did; those of another attempt are left alone.
fn by_sql(
    attempts: &[(i64, i32)],
    results: Vec<Option<Jsonb>>,
    state: &str,
    error: Option<&str>,
) -> Result<Vec<Gone>> {
    static FINISH: Plan = Plan::new(concat!(
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
    FINISH.rows(&[jobs.into(), attempts.into(), results.into(), state.into(), error.into()], Gone::read)
}

pub(super) fn fail(job: i64, attempt: i32, error: &str, retryable: bool) -> Result<&'static str> {
    end_failed(&Attempt::lock(job, attempt)?, error, retryable)
}

/// Moves a locked attempt on and answers the job's new state.
pub(super) fn end_failed(attempt: &Attempt, error: &str, retryable: bool) -> Result<&'static str> {
    match next(attempt, retryable) {
        Next::Retry => {
            let wait = backoff::delay(attempt.attempt.unsigned_abs(), attempt.random).as_secs_f64();
            requeue(attempt, Some(error), Some(wait), Action::Fail)
        }
        Next::Dead => bury(attempt, error, "dead", Action::Fail),
        Next::Cancelled => bury(attempt, error, "cancelled", Action::Cancel),
    }
}

/// Gives a running job back without counting the attempt as failed; answers its new state.
pub(super) fn hand_back(job: i64, attempt: i32, reason: Option<&str>) -> Result<&'static str> {
    static ONE_MORE: Plan =
        Plan::new("UPDATE nebula.job_running SET max_attempts = max_attempts + 1 WHERE job_id = $1");
    let locked = Attempt::lock(job, attempt)?;
    if locked.cancel_requested {
        return bury(&locked, reason.unwrap_or("handed back"), "cancelled", Action::Cancel);
    }
    // The attempt is spent, because its number must not come again; so there is one more.
    ONE_MORE.run(&[job.into()])?;
    requeue(&locked, reason, None, Action::Retry)
}

/// Puts a running job back: due after `wait` seconds, or where it stood.
fn requeue(
    attempt: &Attempt,
    error: Option<&str>,
    wait: Option<f64>,
    action: Action,
) -> Result<&'static str> {
    static REQUEUE: Plan = Plan::new(concat!(
        "WITH gone AS (
           DELETE FROM nebula.job_running WHERE job_id = $1 RETURNING *
         ), back AS (
           INSERT INTO nebula.job_waiting
                  (job_id, kind, payload, project_id, priority, run_at, ready, attempt, max_attempts, on_dead, node_id,
                   capability, unique_key, errors, enqueued_at)
           SELECT job_id, kind, payload, project_id, priority,
                  coalesce(clock_timestamp() + make_interval(secs => $3), run_at), $3 IS NULL, attempt, max_attempts, on_dead,
                  node_id, capability, unique_key,
                  CASE WHEN $2 IS NULL THEN errors ELSE errors || jsonb_build_object(
                    'attempt', attempt, 'at', clock_timestamp(), 'worker', worker, 'error', $2) END,
                  enqueued_at
             FROM gone
           RETURNING ",
        place!(),
        ")
         SELECT ",
        gone!(),
        ", back.* FROM gone, back"
    ));
    let values = [attempt.job.into(), error.into(), wait.into()];
    let read = |row: &Row<'_>| Ok((Gone::read(row)?, Place::read_from(row, 5)?));
    if let Some((gone, place)) = REQUEUE.first(&values, read)? {
        place.announce()?;
        gone.make_room()?;
        wakeup::job_event(gone.project, attempt.job, action)?;
    }
    Ok("available")
}

fn bury(attempt: &Attempt, error: &str, state: &'static str, action: Action) -> Result<&'static str> {
    for gone in by_sql(&[(attempt.job, attempt.attempt)], vec![None], state, Some(error))? {
        gone.free_key()?;
        dependency::cancel_children(gone.job, state)?;
        gone.make_room()?;
        wakeup::job_event(gone.project, gone.job, action)?;
    }
    Ok(state)
}

#[cfg(test)]
mod unit {
    use super::*;

    fn attempt(number: i32, cancel_requested: bool) -> Attempt {
        Attempt { job: 1, attempt: number, max_attempts: 3, cancel_requested, random: 0.5 }
    }

    #[test]
    fn attempts_are_used_up_before_a_job_is_dead() {
        assert_eq!(next(&attempt(1, false), true), Next::Retry);
        assert_eq!(next(&attempt(2, false), true), Next::Retry);
        assert_eq!(next(&attempt(3, false), true), Next::Dead);
    }

    #[test]
    fn a_hopeless_error_is_not_retried() {
        assert_eq!(next(&attempt(1, false), false), Next::Dead);
    }

    #[test]
    fn a_cancelled_job_does_not_come_back() {
        assert_eq!(next(&attempt(1, true), true), Next::Cancelled);
        assert_eq!(next(&attempt(3, true), false), Next::Cancelled);
    }
}
