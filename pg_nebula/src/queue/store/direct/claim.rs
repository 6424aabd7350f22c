//! Claims with direct writes.

use nebula_core::scan_hint::{QueuePosition, SKIP_POINTS};
use nebula_core::scan_range::{End, ScanRange};
use pgrx::IntoDatum;

use super::tables::{self, RUNNING, WAITING, column};
use crate::direct::{FoundRow, IndexScan, KeyRange, KeyValue, SkipPoint, SkipPoints};
use crate::pg::datum::timestamp::{self, Timestamp};
use crate::pg::error::Result;
use crate::pg::session;
use crate::queue::claimed_job::ClaimedJob;
use crate::queue::store::{ClaimedJobs, OpenClaim};

/// Claims of up to so many jobs use skip points, which spare a scan the rest of its index page.
const MAX_WITH_SKIP_POINTS: usize = 8;

/// Moves the first jobs of a kind from nebula.job_waiting to nebula.job_running.
pub(super) fn claim_open(claim: &OpenClaim<'_>) -> Result<ClaimedJobs> {
    let max = usize::try_from(claim.count).unwrap_or(0);
    let skip_points = (max <= MAX_WITH_SKIP_POINTS).then(|| SkipPoints::new(SKIP_POINTS));
    let ranges = ScanRange::split(claim.from, claim.skip_points.filter(|_| skip_points.is_some()));
    let kind = KeyValue::text(claim.kind);
    let starts: Vec<[KeyValue; 4]> = ranges.iter().map(|range| start_of(range, kind)).collect();
    let searches =
        ranges.iter().zip(&starts).map(|(range, start)| scan_of(range, start, skip_points.as_ref()));
    let searches: Vec<IndexScan<'_>> = searches.collect();

    let now = session::clock();
    let until = timestamp::later(Timestamp(now), claim.request.lease)?;
    let (worker, lease) = (claim.request.worker.into_datum(), claim.request.lease.into_datum());
    let moved = WAITING.move_rows(&RUNNING, &searches, max, false, |row, values| {
        let claimed = claimed_job(row, claim.kind, until)?;
        tables::copy_job(row, values);
        values[column::ATTEMPT] = claimed.attempt.into_datum();
        values[column::WORKER] = worker;
        values[column::STARTED_AT] = Timestamp(now).into_datum();
        values[column::LEASE] = lease;
        values[column::LEASE_UNTIL] = until.into_datum();
        values[column::LIMITED] = claim.limited.into_datum();
        values[column::PROGRESS] = None;
        values[column::DETAIL] = None;
        values[column::CANCEL_REQUESTED] = false.into_datum();
        Some(claimed)
    })?;
    let skip_points = skip_points.map(SkipPoints::take).unwrap_or_default();
    Ok(ClaimedJobs {
        jobs: moved.rows,
        skip_points: skip_points.iter().filter_map(position_of).collect(),
        needs_sql: moved.needs_sql,
    })
}

/// The waiting job of a row; `None` when its numbers are out of range, which no function writes.
fn claimed_job(row: &FoundRow<'_>, kind: &str, lease_until: Timestamp) -> Option<ClaimedJob> {
    Some(ClaimedJob {
        key: queue_position(row)?,
        kind: kind.to_owned(),
        payload: row.read(column::PAYLOAD)?,
        attempt: row.read::<i32>(column::ATTEMPT)?.checked_add(1)?,
        lease_until,
        project: row.read(column::PROJECT_ID),
        restricted: false,
    })
}

/// Where the job of a row stands in the order of claims.
pub(super) fn queue_position(row: &FoundRow<'_>) -> Option<QueuePosition> {
    let run_at: Timestamp = row.read(column::RUN_AT)?;
    let rank = row.read::<i32>(column::PRIORITY)?.checked_neg()?;
    Some(QueuePosition { rank, run_at: run_at.0, job: row.read(column::JOB_ID)? })
}

/// The position that an entry of the index holds.
fn position_of(point: &SkipPoint) -> Option<QueuePosition> {
    let [rank, run_at, job] = *point.first_chunk()?;
    Some(QueuePosition { rank: rank.value() as i32, run_at: run_at.value() as i64, job: job.value() as i64 })
}

/// Where a range begins, in the columns of the index.
fn start_of(range: &ScanRange, kind: KeyValue) -> [KeyValue; 4] {
    let from = range.from;
    [kind, KeyValue::integer(from.rank), KeyValue::timestamp(from.run_at), KeyValue::bigint(from.job)]
}

fn scan_of<'a>(
    range: &ScanRange,
    start: &'a [KeyValue; 4],
    skip_points: Option<&'a SkipPoints>,
) -> IndexScan<'a> {
    let (equal, range, skip_points) = match range.end {
        End::Open => (1, KeyRange::From(&start[1..]), skip_points),
        End::RunAt(to) => (2, KeyRange::UpTo(&start[2..], KeyValue::timestamp(to)), None),
        End::Job(to) => (3, KeyRange::Between(start[3], KeyValue::bigint(to)), None),
    };
    IndexScan { index: tables::WAITING_CLAIM, equal: &start[..equal], range, skip_points }
}
