//! Moving jobs from nebula.job_waiting to nebula.job_running.

use crate::notify::scan;
use crate::pg::session;
use pgrx::datum::DatumWithOid;
use pgrx::{IntoDatum, Uuid};

use super::request::ClaimRequest;
use super::row::{self, KEPT, RUNNING, WAITING, column};
use crate::direct::{FoundRow, IndexScan, KeyRange, KeyValue, MovedRows, SkipPoint, SkipPoints};
use crate::notify;
use crate::pg::datum::jsonb::Jsonb;
use crate::pg::datum::timestamp::{self, Timestamp};
use crate::pg::error::Result;
use crate::pg::privilege::as_owner_by_index;
use crate::pg::session::snapshot_is_fixed;
use crate::pg::statement::{Row, Statement};
use nebula_core::scan_hint::{QueuePosition, SKIP_POINTS, ScanStart};

/// Claims of no more jobs than this go only as far as they must.
const FEW: usize = 8;

/// A claimed job.
pub(super) struct Claimed {
    pub(super) key: QueuePosition,
    pub(super) kind: String,
    pub(super) payload: Jsonb,
    pub(super) attempt: i32,
    pub(super) lease_until: Timestamp,
    pub(super) project: Option<Uuid>,
    /// Not everybody can claim it.
    pinned: bool,
}

impl Claimed {
    /// A waiting job that is about to be claimed; `None` for what no job can be.
    fn of(row: &FoundRow<'_>, kind: &str, lease_until: Timestamp) -> Option<Self> {
        let run_at: Timestamp = row.read(column::RUN_AT)?;
        let rank = row.read::<i32>(column::PRIORITY)?.checked_neg()?;
        Some(Self {
            key: QueuePosition { rank, run_at: run_at.0, job: row.read(column::JOB)? },
            kind: kind.to_owned(),
            payload: row.read(column::PAYLOAD)?,
            attempt: row.read::<i32>(column::ATTEMPT)?.checked_add(1)?,
            lease_until,
            project: row.read(column::PROJECT),
            pinned: false,
        })
    }

    /// The columns of the answer of claim_jobs.
    pub(super) fn into_values(self) -> [row::Cell; 5] {
        [
            self.key.job.into_datum(),
            self.kind.into_datum(),
            self.payload.into_datum(),
            self.attempt.into_datum(),
            self.lease_until.into_datum(),
        ]
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

/// The first jobs of a kind that any worker can claim, from where this claim was told to begin.
pub(super) fn everybodys(
    request: &ClaimRequest<'_>,
    kind: &str,
    count: i32,
    limited: bool,
    start: Option<ScanStart>,
) -> Result<Vec<Claimed>> {
    let from = start.map_or(QueuePosition::FIRST, |start| start.position);
    let most = usize::try_from(count).unwrap_or(0);
    let (mut claimed, mut needs_sql) = (Vec::new(), snapshot_is_fixed());
    let skip_points = SkipPoints::new(SKIP_POINTS);
    if !needs_sql {
        // A few jobs are mostly found at once before a place that is known; then little of the index is looked at.
        let few = most <= FEW;
        let parts = Part::all(from, start.and_then(|start| start.skip_points).filter(|_| few));
        let moved = below_sql(request, kind, &parts, most, limited, few.then_some(&skip_points))?;
        claimed = moved.rows;
        needs_sql = moved.needs_sql;
    }
    hide(&claimed);
    if needs_sql {
        let left = count - i32::try_from(claimed.len()).unwrap_or(count);
        claimed.extend(as_owner_by_index(|| by_sql(request, kind, from, left, limited))?);
    }
    let lease = claimed.iter().map(|job| job.lease_until.0).min();
    match start {
        Some(start) => {
            let last = claimed.iter().map(|job| job.key).max().filter(|_| claimed.len() >= most);
            let ahead: Vec<QueuePosition> = skip_points.take().iter().filter_map(seen).collect();
            scan::end_claim(
                kind,
                start,
                last.map_or(QueuePosition::LAST, QueuePosition::next),
                &ahead,
                lease,
            );
        }
        None => lease.into_iter().for_each(scan::arm_lease),
    }
    Ok(claimed)
}

/// A part of the line of jobs that everybody can claim: from a place on, up to another if that has the same rank.
struct Part {
    from: [KeyValue; 3],
    upto: Option<Upto>,
}

/// Where a part ends.
enum Upto {
    /// At this number, of those of the same rank and time.
    Number(KeyValue),
    /// At this time, of those of the same rank.
    Time(KeyValue),
}

impl Part {
    /// The whole line from a place on, with what lies before two known places first.
    fn all(from: QueuePosition, ahead: Option<(QueuePosition, QueuePosition)>) -> Vec<Self> {
        let mut parts = Vec::with_capacity(3);
        if let Some((first, last)) = ahead
            && let Some(part) = Self::between(from, first)
        {
            parts.push(part);
            parts.extend((first < last).then(|| Self::between(first.next(), last)).flatten());
        }
        parts.push(Self { from: Self::place(from), upto: None });
        parts
    }

    fn between(from: QueuePosition, upto: QueuePosition) -> Option<Self> {
        let end = if from.run_at == upto.run_at {
            Upto::Number(KeyValue::bigint(upto.job))
        } else {
            Upto::Time(KeyValue::timestamp(upto.run_at))
        };
        (from.rank == upto.rank).then(|| Self { from: Self::place(from), upto: Some(end) })
    }

    /// In the columns that follow the kind.
    fn place(key: QueuePosition) -> [KeyValue; 3] {
        [KeyValue::integer(key.rank), KeyValue::timestamp(key.run_at), KeyValue::bigint(key.job)]
    }
}

/// What `by_sql` does, at a tenth of its cost; for READ COMMITTED only. What a fixed snapshot does not show must be told with
/// 40001, which SQL does.
fn below_sql(
    request: &ClaimRequest<'_>,
    kind: &str,
    parts: &[Part],
    most: usize,
    limited: bool,
    skip_points: Option<&SkipPoints>,
) -> Result<MovedRows<Claimed>> {
    let now = session::clock();
    let until = timestamp::later(Timestamp(now), request.lease)?;
    let own = [
        request.worker.into_datum(),
        Timestamp(now).into_datum(),
        request.lease.into_datum(),
        until.into_datum(),
        limited.into_datum(),
        None,
        None,
        false.into_datum(),
    ];
    let kind_is = KeyValue::text(kind);
    let places: Vec<[KeyValue; 4]> = parts
        .iter()
        .map(|part| {
            let [rank, run_at, job] = part.from;
            [kind_is, rank, run_at, job]
        })
        .collect();
    let searches = parts.iter().zip(&places).map(|(part, place)| {
        let (equal, range, skip_points) = match part.upto {
            None => (1, KeyRange::From(&place[1..]), skip_points),
            Some(Upto::Number(upto)) => (3, KeyRange::Between(place[3], upto), None),
            Some(Upto::Time(upto)) => (2, KeyRange::UpTo(&place[2..], upto), None),
        };
        IndexScan { index: c"job_waiting_claim_idx", equal: &place[..equal], range, skip_points }
    });
    let searches: Vec<IndexScan<'_>> = searches.collect();
    WAITING.move_rows(&RUNNING, &searches, most, false, |row, values| {
        let claimed = Claimed::of(row, kind, until)?;
        row::keep(row, values);
        values[column::ATTEMPT] = claimed.attempt.into_datum();
        values[KEPT..].copy_from_slice(&own);
        Some(claimed)
    })
}

/// A place in the order of claims, as the index has it.
fn seen(place: &SkipPoint) -> Option<QueuePosition> {
    let [rank, run_at, job] = *place.first_chunk()?;
    Some(QueuePosition { rank: rank.value() as i32, run_at: run_at.value() as i64, job: job.value() as i64 })
}

fn by_sql(
    request: &ClaimRequest<'_>,
    kind: &str,
    from: QueuePosition,
    count: i32,
    limited: bool,
) -> Result<Vec<Claimed>> {
    static FROM: Statement = Statement::new(pick_sql!(concat!(
        open_to_all!(),
        " AND (-priority, run_at, job_id) >= ($6, $7, $8)"
    )));
    let from = vec![from.rank.into(), Timestamp(from.run_at).into(), from.job.into()];
    run(&FROM, request, kind, count, limited, from)
}

/// The first jobs of a kind that are meant for this worker.
pub(super) fn pinned(
    request: &ClaimRequest<'_>,
    kind: &str,
    count: i32,
    limited: bool,
) -> Result<Vec<Claimed>> {
    static PINNED: Statement = Statement::new(pick_sql!(open_to!("$6", "$7")));
    let more = vec![request.node.into(), request.capabilities.clone().into()];
    run(&PINNED, request, kind, count, limited, more)
}

/// Runs one of the statements; `more` are the parameters from $6 on.
pub(super) fn run(
    plan: &'static Statement,
    request: &ClaimRequest<'_>,
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
    let claimed = plan.query(&values, read)?;
    hide(&claimed);
    claimed.iter().map(|job| job.lease_until.0).min().into_iter().for_each(scan::arm_lease);
    Ok(claimed)
}

/// If this is rolled back, jobs of a kind are where they were.
fn hide(claimed: &[Claimed]) {
    if let Some(first) = claimed.iter().filter(|job| !job.pinned).min_by_key(|job| job.key) {
        notify::note_hidden(&first.kind, first.key, false);
    }
}

fn read(row: &Row<'_>) -> Result<Claimed> {
    let run_at: Timestamp = row.need(2)?;
    Ok(Claimed {
        key: QueuePosition { rank: row.need(1)?, run_at: run_at.0, job: row.need(3)? },
        kind: row.need(4)?,
        payload: row.need(5)?,
        attempt: row.need(6)?,
        lease_until: row.need(7)?,
        project: row.get(8)?,
        pinned: row.need(9)?,
    })
}

#[cfg(test)]
mod unit {
    use super::*;

    fn parts(from: i32, first: i32, last: i32) -> usize {
        let key = |rank, job| QueuePosition { rank, run_at: 0, job };
        Part::all(key(from, 1), Some((key(first, 2), key(last, 3)))).len()
    }

    #[test]
    fn what_is_known_of_a_lower_priority_comes_after_all_of_a_higher() {
        assert_eq!(parts(0, 0, 0), 3);
        assert_eq!(parts(0, 0, 1), 2, "to the first place, then the whole line");
        assert_eq!(parts(0, 1, 1), 1, "the whole line");
    }
}
