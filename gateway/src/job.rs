//! Jobs: what is being worked on.

use actix_web::web;
use nebula_api::Envelope;
use nebula_api::job::Job;
use serde::Deserialize;
use uuid::Uuid;

use crate::auth::Actor;
use crate::{ApiError, AppState, database};

/// Query of `GET /api/jobs`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct JobFilter {
    /// Only this project; without it, every project the caller sees.
    pub project_id: Option<Uuid>,
    /// How many at most: 1 to 1000, 100 without it.
    pub max: Option<i32>,
}

/// Newest jobs first.
#[utoipa::path(get, path = "/api/jobs", tag = "job", params(JobFilter),
    responses((status = 200, description = "Jobs", body = Envelope<Vec<Job>>)))]
pub async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<JobFilter>,
) -> Result<web::Json<Envelope<Vec<Job>>>, ApiError> {
    let client = state.database.client().await?;
    let max = filter.max.unwrap_or(100);
    let jobs = database::job::list(&client, actor.account_id, filter.project_id, None, max).await?;
    Ok(web::Json(Envelope::new(jobs)))
}

/// One job.
#[utoipa::path(get, path = "/api/jobs/{id}", tag = "job", params(("id" = i64, Path)),
    responses((status = 200, description = "The job", body = Envelope<Job>)))]
pub async fn status(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<i64>,
) -> Result<web::Json<Envelope<Job>>, ApiError> {
    let client = state.database.client().await?;
    let found = database::job::list(&client, actor.account_id, None, Some(*path), 1).await?;
    match found.into_iter().next() {
        Some(job) => Ok(web::Json(Envelope::new(job))),
        None => Err(ApiError::not_found(format!("there is no job {path}"))
            .hint("List jobs: GET /api/jobs. Those of other projects are not shown.")),
    }
}
