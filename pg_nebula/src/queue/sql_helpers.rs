//! What functions written in SQL need of the queue.

use crate::notify::timers;
use pgrx::prelude::*;

use super::enqueue::{announce, check_kind, check_numbers};
use crate::notify;
use crate::pg::datum::timestamp::{Timestamp, is_time_zone};
use crate::pg::error::{self, Error, required, sql};
use crate::pg::statement::Statement;
use nebula_core::cron::Cron;

/// Refuses a malformed kind, priority or number of attempts (22023).
#[pg_extern(immutable, parallel_safe)]
fn check_job(
    kind: Option<&str>,
    priority: default!(Option<i32>, 0),
    max_attempts: default!(Option<i32>, 5),
) -> sql::Result<()> {
    check_kind(required(kind, "kind")?)?;
    Ok(check_numbers(required(priority, "priority")?, required(max_attempts, "max_attempts")?)?)
}

/// Tells workers and watchers, when this transaction commits, that jobs of a kind were enqueued.
#[pg_extern]
fn announce_jobs(kind: &str, priority: i32, run_at: Timestamp) -> sql::Result<()> {
    Ok(announce(kind, priority, run_at.0)?)
}

/// Wakes workers of a kind when this transaction commits.
#[pg_extern]
fn wake_workers(kind: &str) -> sql::Result<()> {
    Ok(notify::job_available(kind, None)?)
}

/// Says when the next schedule is due; null: there is none.
#[pg_extern]
fn expect_tick(at: Option<Timestamp>, looked: default!(bool, false)) {
    if looked {
        timers::reschedule(|timers| &mut timers.schedule, at.map(|at| at.0));
    } else if let Some(at) = at {
        timers::arm(|timers| &mut timers.schedule, at.0);
    }
}

/// The first time after `after` that a cron expression names, on the clock of a time zone.
///
/// A time that the clock skips is taken when it has moved on; of one that comes twice, the first. Errors: 22023 malformed.
#[pg_extern(stable)]
fn next_tick(
    cron: Option<&str>,
    time_zone: Option<&str>,
    after: Option<Timestamp>,
) -> sql::Result<Timestamp> {
    Ok(tick_after(required(cron, "cron")?, required(time_zone, "time_zone")?, required(after, "after")?)?)
}

fn tick_after(cron: &str, time_zone: &str, after: Timestamp) -> error::Result<Timestamp> {
    static LOCAL: Statement =
        Statement::new("SELECT floor(extract(epoch FROM $1 AT TIME ZONE $2) / 60)::bigint");
    // The same clock for as long as it shows what it should; else whatever the time zone makes of that time.
    static INSTANT: Statement = Statement::new(
        "SELECT CASE WHEN e.at AT TIME ZONE $4 = l.at THEN e.at ELSE l.at AT TIME ZONE $4 END
           FROM (SELECT timestamp 'epoch' + $1 * interval '1 minute' AS at) l,
                (SELECT date_trunc('minute', $3) + ($1 - $2) * interval '1 minute' AS at) e",
    );
    let times = Cron::parse(cron).map_err(|problem| {
        Error::bad_argument(
            format!("\"{cron}\" is no cron expression: {problem}"),
            "Give minute, hour, day of month, month and day of week, for example '*/15 8-18 * * mon-fri', or @daily.",
        )
    })?;
    if !is_time_zone(time_zone) {
        return Err(Error::bad_argument(
            format!("\"{time_zone}\" is no time zone"),
            "List them: SELECT name FROM pg_timezone_names.",
        ));
    }
    let read = || Error::corrupt_schema("time");
    let now: i64 = LOCAL.query_opt(&[after.into(), time_zone.into()], |row| row.need(1))?.ok_or_else(read)?;
    let mut local = now;
    // Where the clock goes back, the next time on it may be past already; the one after that is not.
    while let Some(next) = times.next(local) {
        let values = [next.into(), now.into(), after.into(), time_zone.into()];
        let instant: Timestamp = INSTANT.query_opt(&values, |row| row.need(1))?.ok_or_else(read)?;
        if instant > after {
            return Ok(instant);
        }
        local = next;
    }
    Err(Error::bad_argument(
        format!("cron expression \"{cron}\" names no time that ever comes"),
        "Look at day of month and month: there is no 30th of February.",
    ))
}
