//! `/api/quotas`.

use actix_web::{HttpRequest, web};
use nebula_api::quota::{Quota, SetQuota};
use nebula_api::{Envelope, word};
use uuid::Uuid;

use crate::database::quota as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Bytes that the caller's projects and the caller store and may store; administrators see all accounts.
#[utoipa::path(get, path = "/api/quotas", tag = "quota",
    responses((status = 200, description = "Projects and accounts", body = Envelope<Vec<Quota>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<Vec<Quota>>>, ApiError> {
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(database::list(&client, &actor.account).await?)))
}

/// Sets how many bytes a project, or an account in all projects together, may store. What is stored stays.
#[utoipa::path(put, path = "/api/quotas/{subject}/{id}", tag = "quota", request_body = SetQuota,
    params(("subject" = inline(word::QuotaSubject), Path), ("id" = Uuid, Path)),
    responses((status = 200, description = "Set", body = Envelope<serde_json::Value>)))]
pub(crate) async fn set(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    path: web::Path<(String, Uuid)>,
    body: web::Json<Object<SetQuota>>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let ((subject, id), max_bytes) = (path.into_inner(), body.max_bytes);
    let client = state.database.client().await?;
    database::set(&client, &actor.account, &subject, id, max_bytes, client_address(&request)).await?;
    Ok(web::Json(Envelope::new(())))
}
