//! Functions for the parts of the queue that are written in SQL.

use nebula_core::cron::Cron;
use pgrx::prelude::*;

use super::enqueue::{check_kind, check_numbers, notify_many};
use crate::notify;
use crate::notify::timers;
use crate::pg::datum::timestamp::{Timestamp, is_time_zone};
use crate::pg::error::{Error, Result, required, sql};
use crate::pg::limits::{CRON, check_text};
use crate::pg::statement::Statement;

#[pg_extern(immutable, parallel_safe)]
fn check_job(
    kind: Option<&str>,
    priority: default!(Option<i32>, 0),
    max_attempts: default!(Option<i32>, 5),
) -> sql::Result<()> {
    check_kind(required(kind, "kind")?)?;
    Ok(check_numbers(required(priority, "priority")?, required(max_attempts, "max_attempts")?)?)
}

#[pg_extern]
fn notify_enqueued(kind: &str, priority: i32, run_at: Timestamp) -> sql::Result<()> {
    Ok(notify_many(kind, priority, run_at.0)?)
}

#[pg_extern]
fn wake_workers(kind: &str) -> sql::Result<()> {
    Ok(notify::job_available(kind, None)?)
}

#[pg_extern]
fn set_schedule_timer(at: Option<Timestamp>, after_run: default!(bool, false)) {
    if after_run {
        timers::reschedule(|timers| &mut timers.schedule, at.map(|at| at.0));
    } else if let Some(at) = at {
        timers::arm(|timers| &mut timers.schedule, at.0);
    }
}

#[pg_extern(stable)]
fn next_tick(
    cron: Option<&str>,
    time_zone: Option<&str>,
    after: Option<Timestamp>,
) -> sql::Result<Timestamp> {
    let (cron, time_zone) = (required(cron, "cron")?, required(time_zone, "time_zone")?);
    let after = required(after, "after")?;
    check_text("cron", Some(cron), CRON)?;
    check_text("time_zone", Some(time_zone), CRON)?;
    // Beyond them the calendar of the time zone is no longer that of cron.
    if !(EARLIEST..=LATEST).contains(&after.0.div_euclid(MINUTE)) {
        return Err(Error::bad_argument(
            "after is no time from the year 1 to 9999",
            "Give a time, for example now(); infinity is none.",
        )
        .into());
    }
    let times = Cron::parse(cron).map_err(|problem| {
        Error::bad_argument(
            format!("\"{cron}\" is not a valid cron expression: {problem}"),
            "Give minute, hour, day of month, month and day of week, for example \
             '*/15 8-18 * * mon-fri', or @daily.",
        )
    })?;
    if !is_time_zone(time_zone) {
        return Err(Error::bad_argument(
            format!("\"{time_zone}\" is not a time zone"),
            "List them: SELECT name FROM pg_timezone_names.",
        )
        .into());
    }
    let tick = times.next_tick(after.0.div_euclid(MINUTE) + UNIX_EPOCH, |minute| {
        local_minute(timestamp(minute), time_zone)
    })?;
    if let Some(tick) = tick {
        return Ok(timestamp(tick));
    }
    Err(Error::bad_argument(
        format!("cron expression \"{cron}\" never matches a time"),
        "Look at day of month and month: there is no 30th of February.",
    )
    .into())
}

/// A minute in PostgreSQL's microseconds.
const MINUTE: i64 = 60_000_000;
/// Minutes from the start of 1970, from which those of cron expressions count, to the start of 2000, from
/// which PostgreSQL counts.
const UNIX_EPOCH: i64 = 10_957 * 24 * 60;

/// The years 1 to 9999, in minutes since the start of 2000.
const EARLIEST: i64 = -730_119 * 24 * 60;
const LATEST: i64 = 2_921_940 * 24 * 60;

/// A minute since 1970; beyond what PostgreSQL has, an infinity.
fn timestamp(minute: i64) -> Timestamp {
    Timestamp((minute - UNIX_EPOCH).saturating_mul(MINUTE))
}

/// The time on the clock of a time zone, in minutes since 1970.
fn local_minute(at: Timestamp, time_zone: &str) -> Result<i64> {
    static LOCAL: Statement =
        Statement::new("SELECT floor(extract(epoch FROM $1 AT TIME ZONE $2) / 60)::bigint");
    let local = LOCAL.query_opt(&[at.into(), time_zone.into()], |row| row.need(1))?;
    local.ok_or_else(|| Error::corrupt_schema("time"))
}
