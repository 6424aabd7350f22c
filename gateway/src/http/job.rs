//! `/api/jobs`: the list, cancelling, retrying.

use actix_web::{HttpRequest, web};
use nebula_api::job::{Job, JobChange};
use nebula_api::{Envelope, Failure, Page, word};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::job::{self as database, Change};
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Query of `GET /api/jobs`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobFilter {
    /// Only this project; without it, every project the caller sees.
    pub(crate) project_id: Option<Uuid>,
    /// Only jobs of this kind.
    pub(crate) kind: Option<String>,
    /// Only jobs in this state: blocked, available, running, succeeded, dead or cancelled.
    #[param(value_type = Option<word::JobState>, inline)]
    pub(crate) state: Option<String>,
    /// Only jobs before this one, as `cursor`.
    pub(crate) before: Option<i64>,
    /// `next` of the page before.
    pub(crate) cursor: Option<i64>,
    /// How many at most: 1 to 1000, 100 without it.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) max: Option<i32>,
}

/// Jobs of the projects the caller sees, newest first.
#[utoipa::path(get, path = "/api/jobs", tag = "job", params(JobFilter),
    responses((status = 200, description = "Jobs", body = Page<Job>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<JobFilter>,
) -> Result<web::Json<Page<Job>>, ApiError> {
    let client = state.database.client().await?;
    let wanted = database::JobQuery {
        project_id: filter.project_id,
        kind: filter.kind.as_deref(),
        state: filter.state.as_deref(),
        before: filter.cursor.or(filter.before),
    };
    let max = filter.max.unwrap_or(100);
    let jobs = database::list(&client, &actor.account, &wanted, max).await?;
    let is_full = i32::try_from(jobs.len()) == Ok(max);
    let next = jobs.last().filter(|_| is_full).map(|job| job.job_id.to_string());
    let page = Page::new(jobs, next);
    if wanted.before.is_some() {
        return Ok(web::Json(page));
    }
    let counts = database::count(&client, &actor.account, wanted.project_id, wanted.kind).await?;
    let total = counts.iter().filter(|(state, _)| wanted.state.is_none_or(|wanted| wanted == *state));
    Ok(web::Json(page.counted(total.map(|(_, count)| count).sum(), Some(counts))))
}

/// One job.
#[utoipa::path(get, path = "/api/jobs/{id}", tag = "job", params(("id" = i64, Path)),
    responses((status = 200, description = "The job", body = Envelope<Job>)))]
pub(crate) async fn status(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<i64>,
) -> Result<web::Json<Envelope<Job>>, ApiError> {
    let client = state.database.client().await?;
    match database::find(&client, &actor.account, *path).await? {
        Some(job) => Ok(web::Json(Envelope::new(job))),
        None => Err(ApiError::not_found(format!("there is no job {path}"))
            .hint("List jobs: GET /api/jobs. Those of other projects are not shown.")),
    }
}

/// Cancels a job: a waiting one at once, a running one with the next heartbeat of its worker.
#[utoipa::path(post, path = "/api/jobs/{id}/cancel", tag = "job", params(("id" = i64, Path)),
    responses((status = 200, description = "Stopped, or about to be", body = Envelope<JobChange>),
              (status = 404, description = "No such job in the caller's projects", body = Failure),
              (status = 409, description = "It has finished", body = Failure)))]
pub(crate) async fn cancel(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<i64>,
) -> Result<web::Json<Envelope<JobChange>>, ApiError> {
    change(&state, &actor, &request, *path, Change::Cancel).await
}

/// Runs a dead or cancelled job again, with all its attempts.
#[utoipa::path(post, path = "/api/jobs/{id}/retry", tag = "job", params(("id" = i64, Path)),
    responses((status = 200, description = "It waits for a worker", body = Envelope<JobChange>),
              (status = 404, description = "No such job in the caller's projects", body = Failure),
              (status = 409, description = "It is neither dead nor cancelled", body = Failure)))]
pub(crate) async fn retry(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<i64>,
) -> Result<web::Json<Envelope<JobChange>>, ApiError> {
    change(&state, &actor, &request, *path, Change::Retry).await
}

async fn change(
    state: &AppState,
    actor: &Actor,
    request: &HttpRequest,
    job_id: i64,
    change: Change,
) -> Result<web::Json<Envelope<JobChange>>, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(request);
    let state = database::change(&client, change, &actor.account, job_id, address).await?;
    Ok(web::Json(Envelope::new(JobChange { job_id, state })))
}
