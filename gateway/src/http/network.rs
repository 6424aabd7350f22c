//! `/api/network`: the picture of a network, and `/api/series`: values over time.

use actix_web::web;
use chrono::{DateTime, TimeDelta, Utc};
use nebula_api::Envelope;
use nebula_api::network::NetworkPicture;
use nebula_api::series::Series;
use serde::Deserialize;
use uuid::Uuid;

use crate::database::series::{self, Wanted};
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::state::AppState;

/// The picture that is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct NetworkQuery {
    /// The project.
    project_id: Uuid,
    /// A device whose partners are shown instead of bundles.
    focus: Option<Uuid>,
}

/// Devices of a network, and the tunnels between them as agents report them.
#[utoipa::path(get, path = "/api/network", tag = "network", params(NetworkQuery),
    responses((status = 200, description = "The picture", body = Envelope<NetworkPicture>)))]
pub(crate) async fn picture(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<NetworkQuery>,
) -> Result<web::Json<Envelope<NetworkPicture>>, ApiError> {
    let picture =
        state.networks.picture(&state.database, &actor.account, query.project_id, query.focus).await?;
    Ok(web::Json(Envelope::new(picture.as_ref().clone())))
}

/// The samples that are asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct SeriesQuery {
    /// Samples of this project; without it, those of the server, for operators.
    project_id: Option<Uuid>,
    /// Names of values, separated by commas; all without it.
    name: Option<String>,
    /// At this time or later; a day ago without it.
    from: Option<DateTime<Utc>>,
    /// Before this time; now without it.
    to: Option<DateTime<Utc>>,
    /// Minutes that a sample is of: 1 (kept for a day) or 15 (kept for thirty days). Without it, 1 for a day or less.
    #[param(minimum = 1, maximum = 15)]
    step: Option<i32>,
}

/// Values over time: use of pools, traffic, devices that are online; jobs and disks for operators.
#[utoipa::path(get, path = "/api/series", tag = "network", params(SeriesQuery),
    responses((status = 200, description = "Samples", body = Envelope<Vec<Series>>)))]
pub(crate) async fn samples(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<SeriesQuery>,
) -> Result<web::Json<Envelope<Vec<Series>>>, ApiError> {
    let to = query.to.unwrap_or_else(Utc::now);
    let from = query.from.unwrap_or(to - TimeDelta::days(1));
    let step = query.step.unwrap_or(if to - from > TimeDelta::days(1) { 15 } else { 1 });
    if step != 1 && step != 15 {
        return Err(ApiError::bad_argument("samples are of 1 or 15 minutes").hint("Give step=1 or step=15."));
    }
    let names: Vec<_> = query.name.iter().flat_map(|names| names.split(',')).collect();
    let wanted = Wanted { project_id: query.project_id, names: &names, from, to, step };
    let client = state.database.client().await?;
    Ok(web::Json(Envelope::new(series::list(&client, &actor.account, &wanted).await?)))
}
