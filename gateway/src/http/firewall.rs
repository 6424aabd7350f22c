//! `/api/firewall` and `/api/routes`: rules of a project, and routes to networks behind devices.

use actix_web::web;
use ipnetwork::IpNetwork;
use nebula_api::firewall::{Route, Rule};
use nebula_api::{Envelope, Page};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::firewall as database;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::list::ProjectQuery;
use crate::http::object::Object;
use crate::state::AppState;

/// Rules of the projects the caller sees. They take effect in a project whose traffic is closed.
#[utoipa::path(get, path = "/api/firewall", tag = "firewall", params(ProjectQuery),
    responses((status = 200, description = "Rules", body = Page<Rule>)))]
pub(crate) async fn rules(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<ProjectQuery>,
) -> Result<web::Json<Page<Rule>>, ApiError> {
    let client = state.database.client().await?;
    filter.page(database::rules(&client, &actor.account, filter.project_id).await?)
}

/// Adds a rule; the response has its number.
#[utoipa::path(post, path = "/api/firewall", tag = "firewall", request_body = Rule,
    responses((status = 200, description = "Added", body = Envelope<Rule>)))]
pub(crate) async fn add_rule(
    state: web::Data<AppState>,
    actor: Actor,
    body: web::Json<Object<Rule>>,
) -> Result<web::Json<Envelope<Rule>>, ApiError> {
    let client = state.database.client().await?;
    let rule_id = Some(database::add_rule(&client, &actor.account, &body).await?);
    Ok(web::Json(Envelope::new(Rule { rule_id, ..body.into_inner().0 })))
}

/// Removes a rule.
#[utoipa::path(delete, path = "/api/firewall/{rule}", tag = "firewall", params(("rule" = i64, Path)),
    responses((status = 200, description = "Gone", body = Envelope<serde_json::Value>)))]
pub(crate) async fn drop_rule(
    state: web::Data<AppState>,
    actor: Actor,
    path: web::Path<i64>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::drop_rule(&client, &actor.account, *path).await?;
    Ok(web::Json(Envelope::new(())))
}

/// Routes of the projects the caller sees.
#[utoipa::path(get, path = "/api/routes", tag = "firewall", params(ProjectQuery),
    responses((status = 200, description = "Routes", body = Page<Route>)))]
pub(crate) async fn routes(
    state: web::Data<AppState>,
    actor: Actor,
    filter: web::Query<ProjectQuery>,
) -> Result<web::Json<Page<Route>>, ApiError> {
    let client = state.database.client().await?;
    filter.page(database::routes(&client, &actor.account, filter.project_id).await?)
}

/// Adds a route to a network through a device, or changes the device.
#[utoipa::path(post, path = "/api/routes", tag = "firewall", request_body = Route,
    responses((status = 200, description = "Added", body = Envelope<Route>)))]
pub(crate) async fn add_route(
    state: web::Data<AppState>,
    actor: Actor,
    body: web::Json<Object<Route>>,
) -> Result<web::Json<Envelope<Route>>, ApiError> {
    let network = body.network.parse::<IpNetwork>().ok();
    let gateway = state.gateway_address.resolve().await;
    if let Some(address) =
        gateway.into_iter().find(|address| network.is_some_and(|wide| wide.contains(*address)))
    {
        let detail = format!("{} contains the address of the gateway, {address}", body.network);
        return Err(ApiError::bad_argument(detail)
            .field("network")
            .hint("Devices could no longer fetch their configuration; name a network without it."));
    }
    let client = state.database.client().await?;
    database::add_route(&client, &actor.account, &body).await?;
    Ok(web::Json(Envelope::new(body.into_inner().0)))
}

/// Query of `DELETE /api/routes`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct RouteKey {
    /// The project of the route.
    project_id: Uuid,
    /// The network in CIDR notation.
    network: String,
}

/// Removes a route.
#[utoipa::path(delete, path = "/api/routes", tag = "firewall", params(RouteKey),
    responses((status = 200, description = "Gone", body = Envelope<serde_json::Value>)))]
pub(crate) async fn drop_route(
    state: web::Data<AppState>,
    actor: Actor,
    key: web::Query<RouteKey>,
) -> Result<web::Json<Envelope<()>>, ApiError> {
    let client = state.database.client().await?;
    database::drop_route(&client, &actor.account, key.project_id, &key.network).await?;
    Ok(web::Json(Envelope::new(())))
}
