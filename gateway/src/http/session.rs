//! `/api/sessions`: where the caller is signed in.

use actix_web::{HttpRequest, web};
use nebula_api::Envelope;
use nebula_api::account::Session;
use uuid::Uuid;

use crate::database::session as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::origin::client_address;
use crate::state::AppState;

/// Open sessions of the caller, the newest first.
#[utoipa::path(get, path = "/api/sessions", tag = "auth",
    responses((status = 200, description = "Sessions", body = Envelope<Vec<Session>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<Vec<Session>>>, ApiError> {
    let client = state.database.client().await?;
    let mut sessions = database::list(&client, &actor.account, None).await?;
    for session in &mut sessions {
        session.current = Some(session.session_id) == actor.session_id;
    }
    Ok(web::Json(Envelope::new(sessions)))
}

/// Ends all sessions of the caller but that of this request; answers how many.
#[utoipa::path(delete, path = "/api/sessions", tag = "auth",
    responses((status = 200, description = "Ended", body = Envelope<i32>)))]
pub(crate) async fn end_others(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
) -> Result<web::Json<Envelope<i32>>, ApiError> {
    let client = state.database.client().await?;
    let address = client_address(&request);
    database::end_others(&client, &actor.account, actor.session_id, address)
        .await
        .map(Envelope::new)
        .map(web::Json)
}

/// Ends a session of the caller or, for administrators, of anybody. One that has ended already is no error.
#[utoipa::path(delete, path = "/api/sessions/{id}", tag = "auth", params(("id" = Uuid, Path)),
    responses((status = 200, description = "Ended", body = Envelope<serde_json::Value>)))]
pub(crate) async fn end(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    session_id: web::Path<Uuid>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::end(&client, &actor.account, *session_id, client_address(&request))
        .await
        .map(Envelope::new)
        .map(web::Json)
}
