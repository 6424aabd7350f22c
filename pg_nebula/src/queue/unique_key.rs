//! Unique keys: only one job with a key exists while it lives, or for a period.

use pgrx::prelude::*;

use crate::pg::error::{Error, Result};
use crate::pg::limits::check_span;
use crate::pg::statement::Statement;

/// Refuses malformed keys and periods.
pub(super) fn check(key: Option<&str>, period: Option<Interval>) -> Result<()> {
    if let Some(key) = key
        && (key.is_empty() || key.len() > 1000)
    {
        return Err(Error::bad_argument(
            format!("unique_key has {} bytes", key.len()),
            "Give 1 to 1000 bytes, or null for no key.",
        ));
    }
    if let Some(period) = period {
        if key.is_none() {
            return Err(Error::bad_argument("unique_for is given without unique_key", "Give a key, too."));
        }
        check_span("unique_for", period, "1 hour")?;
    }
    Ok(())
}

/// Takes the key for `job`; returns the other job that has it, if there is one.
pub(super) fn take(key: &str, job: i64, period: Option<Interval>) -> Result<Option<i64>> {
    // A key is free again when its period is over, unless its job still lives.
    static TAKE: Statement = Statement::new(
        "INSERT INTO nebula.job_key AS k (unique_key, job_id, held_until)
         VALUES ($1, $2, clock_timestamp() + $3)
         ON CONFLICT ON CONSTRAINT job_key_pkey
         DO UPDATE SET job_id = EXCLUDED.job_id, held_until = EXCLUDED.held_until
          WHERE k.held_until <= clock_timestamp()
            AND NOT EXISTS (SELECT FROM nebula.job_waiting w WHERE w.job_id = k.job_id)
            AND NOT EXISTS (SELECT FROM nebula.job_running r WHERE r.job_id = k.job_id)
         RETURNING job_id",
    );
    static OWNER: Statement = Statement::new("SELECT job_id FROM nebula.job_key WHERE unique_key = $1");
    // If the owner finishes between the two statements, neither finds a row, and we try again.
    loop {
        if TAKE.exists(&[key.into(), job.into(), period.into()])? {
            return Ok(None);
        }
        if let Some(owner) = OWNER.query_opt(&[key.into()], |row| row.need(1))? {
            return Ok((owner != job).then_some(owner));
        }
    }
}

/// As [`free`], for several jobs.
pub(super) fn free_all(keys: Vec<(String, i64)>) -> Result<()> {
    static FREE: Statement = Statement::new(
        "DELETE FROM nebula.job_key k USING unnest($1, $2) AS f(unique_key, job_id)
          WHERE k.unique_key = f.unique_key AND k.job_id = f.job_id
            AND (k.held_until IS NULL OR k.held_until <= clock_timestamp())",
    );
    if keys.is_empty() {
        return Ok(());
    }
    let (keys, jobs): (Vec<String>, Vec<i64>) = keys.into_iter().unzip();
    FREE.run(&[keys.into(), jobs.into()])
}

/// Frees the key of a job that has finished, unless it was taken for a period that is not over.
pub(super) fn free(key: &str, job: i64) -> Result<()> {
    static FREE: Statement = Statement::new(
        "DELETE FROM nebula.job_key WHERE unique_key = $1 AND job_id = $2
            AND (held_until IS NULL OR held_until <= clock_timestamp())",
    );
    FREE.run(&[key.into(), job.into()])
}
