//! `/api/authorities`: the list.

use actix_web::web;
use nebula_api::Envelope;
use nebula_api::authority::Authority;

use crate::database::authority as database;
use crate::database::event::require_admin;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::state::AppState;

/// The authorities that this gateway can sign with, and all others known, by their end.
#[utoipa::path(get, path = "/api/authorities", tag = "authority",
    responses((status = 200, description = "Authorities", body = Envelope<Vec<Authority>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
) -> Result<web::Json<Envelope<Vec<Authority>>>, ApiError> {
    let client = state.database.client().await?;
    require_admin(&client, &actor.account).await?;
    for held in state.keyring.held().await? {
        database::record(&client, &held).await?;
    }
    Ok(web::Json(Envelope::new(database::list(&client, &actor.account).await?)))
}
