//! `/api/certificates`: the list. Signing is in [`crate::domain::authority`].

use actix_web::web;
use nebula_api::Page;
use nebula_api::certificate::Certificate;
use serde::Deserialize;
use uuid::Uuid;

use crate::database::certificate as database;
use crate::domain::page::{self, Filter, Place};
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
    /// Only certificates with this part in the name of their device or in their fingerprint.
    q: Option<String>,
    /// `expires`, `issued` or `name`; with a minus, from the end. Without it, longest valid first.
    sort: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Certificates of a page: 1 to 1000; without it, all at once.
    #[param(minimum = 1, maximum = 1000)]
    max: Option<i32>,
}

/// Certificates ever issued, longest valid first, at most 1000.
#[utoipa::path(get, path = "/api/certificates", tag = "certificate", params(DeviceFilter),
    responses((status = 200, description = "Certificates", body = Page<Certificate>)))]
pub(crate) async fn list(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<DeviceFilter>,
) -> Result<web::Json<Page<Certificate>>, ApiError> {
    let client = state.database.client().await?;
    let found = database::list(&client, &actor.account, filter.device_id).await?;
    let (sort, cursor) = (filter.sort.as_deref(), filter.cursor.as_deref());
    let place = Place { sort, cursor, max: filter.max };
    page::of_whole(found, Filter { q: filter.q.as_deref(), state: None }, place).map(web::Json)
}
