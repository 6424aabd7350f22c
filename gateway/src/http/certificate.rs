//! `/api/certificates`: the list. Signing is in [`crate::domain::authority`].

use actix_web::web;
use nebula_api::Envelope;
use nebula_api::certificate::Certificate;
use serde::Deserialize;
use uuid::Uuid;

use crate::database::certificate as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::state::AppState;

/// Query of `GET /api/certificates`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct DeviceFilter {
    /// Only this device; without it, every device of the projects the caller sees.
    pub(crate) device_id: Option<Uuid>,
}

/// Certificates ever issued, longest valid first, at most 1000.
#[utoipa::path(get, path = "/api/certificates", tag = "certificate", params(DeviceFilter),
    responses((status = 200, description = "Certificates", body = Envelope<Vec<Certificate>>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<DeviceFilter>,
) -> Result<web::Json<Envelope<Vec<Certificate>>>, ApiError> {
    let client = state.database.client().await?;
    let found = database::list(&client, &actor.account, filter.device_id).await?;
    Ok(web::Json(Envelope::new(found)))
}
