//! The rows of jobs: each operation once in SQL ([`sql`]) and once through the table access method, without
//! the executor ([`direct`]), which is faster.
//!
//! The functions here are the only way to these operations. They try the direct variant first, where
//! `nebula.direct_writes` is on; when it cannot do the work (a trigger, a rule, a constraint that fails, a
//! row that others have changed meanwhile), it leaves everything as it was, and SQL does the work or raises
//! the error. Direct variants run with the caller's privileges, because to become the owner costs as much as
//! their work; SQL runs as the owner.

mod direct;
mod sql;

use std::collections::HashMap;

use nebula_core::scan_hint::QueuePosition;
use pgrx::Uuid;

use super::attempt::{Attempt, AttemptEnd, EndedAttempt, SucceededAttempt};
use super::claimed_job::{ClaimedJob, note_claimed};
use super::new_job::{NewJob, NewJobs};
use super::removed_job::RemovedJob;
use super::request::{ClaimRequest, Heartbeat};
use crate::direct::{CacheToken, Sequence, is_on};
use crate::pg::error::{Error, Result};
use crate::pg::privilege::{as_owner, as_owner_by_index};
use direct::Direct;
use sql::Sql;

/// The operations, and whether their direct variants are used at all: one is kept only where it is measurably
/// faster.
mod has_direct {
    pub(super) const INSERT: bool = true;
    pub(super) const INSERT_MANY: bool = true;
    pub(super) const CLAIM_OPEN: bool = true;
    pub(super) const FINISH_SUCCEEDED: bool = true;
    pub(super) const END_ATTEMPT: bool = true;
    pub(super) const EXTEND_LEASE: bool = true;
}

/// The operations of both implementations. `None` of an `Option`: nothing was done, the operation needs SQL;
/// `needs_sql`: the rest of it needs SQL.
trait JobStore {
    /// Inserts a waiting job.
    fn insert(job: &NewJob<'_>) -> Result<Option<()>>;

    /// Inserts waiting jobs: all, or none when it returns `None`.
    fn insert_many(jobs: &NewJobs<'_>) -> Result<Option<()>>;

    /// Moves the first jobs of a kind that any worker can claim to nebula.job_running; skips locked rows.
    fn claim_open(claim: &OpenClaim<'_>) -> Result<ClaimedJobs>;

    /// Moves running jobs to nebula.job_finished as succeeded; leaves out those whose attempt is another one
    /// by now.
    fn finish_succeeded(attempts: &[SucceededAttempt]) -> Result<FinishedJobs>;

    /// Ends an attempt as `decide` says, which sees the locked row: moves the job to nebula.job_finished or
    /// back to nebula.job_waiting. SQL raises the error when the attempt has lost its lease.
    fn end_attempt<'a>(job: i64, attempt: i32, decide: Decide<'_, 'a>) -> Result<Option<EndedAttempt<'a>>>;

    /// Extends the lease by its length and records progress. SQL raises the error when the attempt has lost
    /// its lease.
    fn extend_lease(heartbeat: &Heartbeat) -> Result<Option<ExtendedLease>>;
}

/// Decides how a locked attempt ends.
pub(super) type Decide<'d, 'a> = &'d dyn Fn(&Attempt) -> AttemptEnd<'a>;

/// Running jobs by project.
pub(super) type RunningByProject = HashMap<Option<Uuid>, i64>;

/// A claim of jobs of one kind that any worker can claim.
#[derive(Clone, Copy)]
pub(super) struct OpenClaim<'a> {
    pub(super) request: &'a ClaimRequest<'a>,
    pub(super) kind: &'a str,
    pub(super) count: i32,
    /// They count towards a limit.
    pub(super) limited: bool,
    /// No job before this one can be claimed.
    pub(super) from: QueuePosition,
    /// Two known positions further on: see `ScanStart::skip_points`.
    pub(super) skip_points: Option<(QueuePosition, QueuePosition)>,
}

/// The result of a claim.
pub(super) struct ClaimedJobs {
    pub(super) jobs: Vec<ClaimedJob>,
    /// Positions of jobs that follow those, for the next claim.
    pub(super) skip_points: Vec<QueuePosition>,
    needs_sql: bool,
}

/// Jobs that were moved to nebula.job_finished.
struct FinishedJobs {
    jobs: Vec<RemovedJob>,
    needs_sql: bool,
}

/// A lease that was extended.
pub(super) struct ExtendedLease {
    pub(super) cancel_requested: bool,
    pub(super) project: Option<Uuid>,
}

/// Identifier for a new job.
pub(super) fn next_job() -> Result<i64> {
    static JOB: Sequence = Sequence::new(c"job_id_seq");
    JOB.next()
}

/// Inserts a waiting job.
pub(super) fn insert(job: &NewJob<'_>) -> Result<()> {
    direct_or_sql(has_direct::INSERT, || Direct::insert(job), || as_owner(|| Sql::insert(job)))
}

/// Inserts waiting jobs.
pub(super) fn insert_many(jobs: &NewJobs<'_>) -> Result<()> {
    direct_or_sql(
        has_direct::INSERT_MANY,
        || Direct::insert_many(jobs),
        || as_owner(|| Sql::insert_many(jobs)),
    )
}

/// Claims the first jobs of a kind that any worker can claim.
pub(super) fn claim_open(claim: &OpenClaim<'_>) -> Result<ClaimedJobs> {
    let mut claimed = if has_direct::CLAIM_OPEN && is_on() {
        Direct::claim_open(claim)?
    } else {
        ClaimedJobs { jobs: Vec::new(), skip_points: Vec::new(), needs_sql: true }
    };
    note_claimed(&claimed.jobs);
    if claimed.needs_sql {
        let count = claim.count - i32::try_from(claimed.jobs.len()).unwrap_or(claim.count);
        let rest = as_owner_by_index(|| Sql::claim_open(&OpenClaim { count, ..*claim }))?;
        note_claimed(&rest.jobs);
        claimed.jobs.extend(rest.jobs);
    }
    Ok(claimed)
}

/// Claims the first jobs of a kind that are restricted to certain workers, of which the caller is one.
pub(super) fn claim_restricted(
    request: &ClaimRequest<'_>,
    kind: &str,
    count: i32,
    limited: bool,
) -> Result<Vec<ClaimedJob>> {
    noted(sql::claim_restricted(request, kind, count, limited)?)
}

/// Claims one job of a kind, open to all or restricted, that is of none of these projects; it counts towards
/// a limit.
pub(super) fn claim_one_except(
    request: &ClaimRequest<'_>,
    kind: &str,
    restricted: bool,
    projects: Vec<Uuid>,
) -> Result<Vec<ClaimedJob>> {
    noted(sql::claim_one_except(request, kind, restricted, projects)?)
}

fn noted(jobs: Vec<ClaimedJob>) -> Result<Vec<ClaimedJob>> {
    note_claimed(&jobs);
    Ok(jobs)
}

/// Finishes attempts, given in the order of their jobs, as succeeded; returns those jobs whose attempt it
/// still was.
pub(super) fn finish_succeeded(mut attempts: Vec<SucceededAttempt>) -> Result<Vec<RemovedJob>> {
    let mut finished = if has_direct::FINISH_SUCCEEDED && is_on() {
        Direct::finish_succeeded(&attempts)?
    } else {
        FinishedJobs { jobs: Vec::new(), needs_sql: true }
    };
    if finished.needs_sql {
        attempts.retain(|attempt| finished.jobs.iter().all(|removed| removed.job != attempt.job));
        finished.jobs.extend(as_owner_by_index(|| Sql::finish_succeeded(&attempts))?.jobs);
    }
    Ok(finished.jobs)
}

/// Ends an attempt as `decide` says of the locked row; the error when it has lost its lease.
pub(super) fn end_attempt<'a>(job: i64, attempt: i32, decide: Decide<'_, 'a>) -> Result<EndedAttempt<'a>> {
    direct_or_sql(
        has_direct::END_ATTEMPT,
        || Direct::end_attempt(job, attempt, decide),
        || as_owner_by_index(|| Sql::end_attempt(job, attempt, decide)),
    )
}

/// Attempts whose lease ended before `now`, locked, with their workers; skips locked rows.
pub(super) use sql::lock_expired;

/// Ends an attempt that is locked. SQL only: this is for rescues, which are rare.
pub(super) use sql::end_locked;

/// Extends a lease and records progress; the error when the attempt has lost it.
pub(super) fn extend_lease(heartbeat: &Heartbeat) -> Result<ExtendedLease> {
    direct_or_sql(
        has_direct::EXTEND_LEASE,
        || Direct::extend_lease(heartbeat),
        || as_owner_by_index(|| Sql::extend_lease(heartbeat)),
    )
}

/// Does an operation directly if it can be done so, otherwise in SQL, which does it or raises an error.
fn direct_or_sql<T>(
    has_direct: bool,
    direct: impl FnOnce() -> Result<Option<T>>,
    sql: impl FnOnce() -> Result<Option<T>>,
) -> Result<T> {
    if has_direct
        && is_on()
        && let Some(done) = direct()?
    {
        return Ok(done);
    }
    sql()?.ok_or_else(|| Error::corrupt_schema("row that was written"))
}

/// Whether jobs wait for this one, or with `None`, for any; as of now, whatever the transaction's snapshot
/// shows. SQL only: below SQL it saved 7 % of a claim and completion, in a table that nothing else needs there.
pub(super) fn has_children(parent: Option<i64>) -> Result<bool> {
    as_owner_by_index(|| sql::has_children(parent))
}

/// How many jobs of a limited kind, or with `None` of all limited kinds, run for each project; as of now,
/// whatever the transaction's snapshot shows. SQL only: claims of limited kinds run several statements
/// anyway. Needs the owner's privileges.
pub(super) use sql::count_limited;

/// For what is read of nebula.job_policy after this.
pub(super) fn policy_token() -> Result<CacheToken> {
    direct::POLICY.cache_token()
}

/// For what is read of nebula.job_quota after this.
pub(super) fn quota_token() -> Result<CacheToken> {
    direct::QUOTA.cache_token()
}
