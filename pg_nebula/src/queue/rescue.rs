//! Rescuing jobs of workers that no longer extend their leases.

use pgrx::prelude::*;

use super::after_end::after_end;
use super::attempt::AttemptEnd;
use super::store;
use crate::notify::timers;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Result, sql};
use crate::pg::session;
use crate::pg::statement::Statement;

#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn rescue_jobs() -> sql::Result<i32> {
    Ok(rescue()?)
}

/// Ends the attempts whose lease ran out as failed; returns how many.
pub(super) fn rescue() -> Result<i32> {
    static NEXT: Statement = Statement::new(concat!(
        "SELECT min(ends) FROM (
           SELECT CASE WHEN lease_until >= $1 THEN lease_until ELSE ",
        lease_after_outage!(),
        " END FROM nebula.job_running
         ) AS lease(ends)
          WHERE ends >= $1"
    ));
    // One time for both statements: a lease that ends between them would be in neither.
    let now = Timestamp(session::clock());
    let expired = store::lock_expired(now)?;
    for (attempt, worker) in &expired {
        let error = format!("lease expired, worker {worker}");
        after_end(&store::end_locked(attempt, AttemptEnd::failed(attempt, &error, true))?)?;
    }
    let next: Option<Timestamp> = NEXT.query_opt(&[now.into()], |row| row.get(1))?.flatten();
    timers::reschedule(|timers| &mut timers.lease, next.map(|at| at.0 + 1));
    Ok(i32::try_from(expired.len()).unwrap_or(i32::MAX))
}
