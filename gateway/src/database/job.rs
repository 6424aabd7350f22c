//! Jobs: listing.

use deadpool_postgres::GenericClient;
use nebula_api::job::Job;
use uuid::Uuid;

use super::{each, rows};
use crate::ApiError;

/// Newest jobs first, of the projects the account sees: of one project or all, or one job by its number.
///
/// # Errors
/// Those of the database.
pub async fn list(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Option<Uuid>,
    job_id: Option<i64>,
    max: i32,
) -> Result<Vec<Job>, ApiError> {
    let sql = "SELECT * FROM nebula.list_jobs($1, $2, $3, $4)";
    each(&rows(client, sql, &[&actor, &project_id, &job_id, &max]).await?, |row| {
        Ok(Job {
            job_id: row.try_get("job_id")?,
            kind: row.try_get("kind")?,
            state: row.try_get("state")?,
            project_id: row.try_get("project_id")?,
            payload: row.try_get("payload")?,
            priority: row.try_get("priority")?,
            attempt: row.try_get("attempt")?,
            max_attempts: row.try_get("max_attempts")?,
            worker: row.try_get("worker")?,
            progress: row.try_get("progress")?,
            detail: row.try_get("detail")?,
            result: row.try_get("result")?,
            errors: row.try_get("errors")?,
            enqueued_at: row.try_get("enqueued_at")?,
            run_at: row.try_get("run_at")?,
            started_at: row.try_get("started_at")?,
            finished_at: row.try_get("finished_at")?,
        })
    })
}
