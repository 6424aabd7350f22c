//! `/api/files/{id}/playback`.

use actix_web::http::header::USER_AGENT;
use actix_web::{HttpRequest, web};
use nebula_api::Envelope;
use nebula_api::playback::{Capabilities, Playback};
use uuid::Uuid;

use crate::domain::playback;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::no_store::NoStore;
use crate::http::object::Object;
use crate::state::AppState;

/// Decides how a client plays a file: the upload itself if it can, else what has been changed least; with all
/// reasons. The decision is recorded.
#[utoipa::path(post, path = "/api/files/{id}/playback", tag = "files", params(("id" = Uuid, Path)),
    request_body = Capabilities,
    responses((status = 200, description = "The decision", body = Envelope<Playback>)))]
pub(crate) async fn decide(
    state: web::Data<AppState>,
    actor: Actor,
    request: HttpRequest,
    file_id: web::Path<Uuid>,
    body: web::Json<Object<Capabilities>>,
) -> Result<NoStore<Envelope<Playback>>, ApiError> {
    let program = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    let client = state.database.client().await?;
    let (account, capabilities) = (&actor.account, body.into_inner().0);
    let decided = playback::choose(&client, &state.tokens, account, *file_id, &capabilities, program).await?;
    Ok(NoStore(Envelope::new(decided)))
}
