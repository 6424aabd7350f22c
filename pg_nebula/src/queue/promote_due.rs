//! Making scheduled jobs claimable when they become due.

use pgrx::prelude::*;

use super::position::Position;
use crate::notify::timers;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Result, sql};
use crate::pg::session;
use crate::pg::statement::Statement;

/// Jobs made ready in one statement.
const MAX_AT_ONCE: i64 = 1000;

#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn release_due_jobs() -> sql::Result<i32> {
    Ok(promote()?)
}

/// Makes jobs ready that are due; returns how many.
pub(super) fn promote() -> Result<i32> {
    static PROMOTE: Statement = Statement::new(concat!(
        "UPDATE nebula.job_waiting SET ready = true WHERE job_id = ANY (ARRAY(
           SELECT job_id FROM nebula.job_waiting WHERE NOT ready AND blocked_by = 0 AND run_at <= $2
            ORDER BY run_at LIMIT $1 FOR UPDATE SKIP LOCKED))
         RETURNING ",
        position_columns!()
    ));
    // Due jobs are left out: those that were skipped are locked by another session that makes them ready.
    static NEXT: Statement = Statement::new(
        "SELECT run_at FROM nebula.job_waiting WHERE NOT ready AND blocked_by = 0 AND run_at > $1
          ORDER BY run_at LIMIT 1",
    );
    // One time for both statements: a job that becomes due between them would be in neither.
    let now = Timestamp(session::clock());
    let mut promoted = 0;
    loop {
        let positions = PROMOTE.query(&[MAX_AT_ONCE.into(), now.into()], Position::read)?;
        positions.iter().try_for_each(Position::notify_available)?;
        promoted += positions.len();
        if positions.len() < MAX_AT_ONCE as usize {
            break;
        }
    }
    let next: Option<Timestamp> = NEXT.query_opt(&[now.into()], |row| row.need(1))?;
    timers::reschedule(|timers| &mut timers.job, next.map(|at| at.0));
    Ok(i32::try_from(promoted).unwrap_or(i32::MAX))
}
