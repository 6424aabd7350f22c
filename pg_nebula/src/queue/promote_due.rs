//! Jobs whose time has come.

use super::position::{Place, place};
use crate::notify::timers;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::session;
use crate::pg::statement::Statement;

/// Most jobs made ready in one statement.
const MOST: i64 = 1000;

/// Makes jobs whose time has come ready; answers how many.
pub(super) fn release() -> Result<i32> {
    static RELEASE: Statement = Statement::new(concat!(
        "UPDATE nebula.job_waiting SET ready = true WHERE job_id = ANY (ARRAY(
           SELECT job_id FROM nebula.job_waiting WHERE NOT ready AND blocked_by = 0 AND run_at <= $2
            ORDER BY run_at LIMIT $1 FOR UPDATE SKIP LOCKED))
         RETURNING ",
        place!()
    ));
    // Those that are due and locked somebody else is dealing with.
    static NEXT: Statement = Statement::new(
        "SELECT run_at FROM nebula.job_waiting WHERE NOT ready AND blocked_by = 0 AND run_at > $1
          ORDER BY run_at LIMIT 1",
    );
    // One moment for both, so that nothing becomes due between them.
    let now = Timestamp(session::clock());
    let mut released = 0;
    loop {
        let places = RELEASE.query(&[MOST.into(), now.into()], Place::read)?;
        places.iter().try_for_each(Place::announce)?;
        released += places.len();
        if places.len() < MOST as usize {
            break;
        }
    }
    let next: Option<Timestamp> = NEXT.query_opt(&[now.into()], |row| row.need(1))?;
    timers::reschedule(|timers| &mut timers.job, next.map(|at| at.0));
    Ok(i32::try_from(released).unwrap_or(i32::MAX))
}
