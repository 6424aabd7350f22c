//! Firewall rules and routes: listed, added, dropped.

use deadpool_postgres::GenericClient;
use nebula_api::firewall::{Route, Rule};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{each, one, rows};
use crate::ApiError;

/// Rules of the projects the account sees.
///
/// # Errors
/// Those of the database.
pub async fn rules(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Option<Uuid>,
) -> Result<Vec<Rule>, ApiError> {
    let found = rows(client, "SELECT nebula.list_rules($1, $2)", &[&actor, &project_id]).await?;
    each(&found, |row| row.try_get(0).map(|Json(rule)| rule))
}

/// Adds a rule; answers its number.
///
/// # Errors
/// 403 not an administrator, 404 no such project or device, 400 malformed.
pub async fn add_rule(client: &impl GenericClient, actor: Uuid, rule: &Rule) -> Result<i64, ApiError> {
    Ok(one(client, "SELECT nebula.add_rule_for($1, $2)", &[&actor, &Json(rule)]).await?.try_get(0)?)
}

/// Takes a rule back.
///
/// # Errors
/// 403 not an administrator, 404 no such rule.
pub async fn drop_rule(client: &impl GenericClient, actor: Uuid, rule_id: i64) -> Result<(), ApiError> {
    one(client, "SELECT nebula.drop_rule_for($1, $2)", &[&actor, &rule_id]).await.map(drop)
}

/// Routes of the projects the account sees.
///
/// # Errors
/// Those of the database.
pub async fn routes(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Option<Uuid>,
) -> Result<Vec<Route>, ApiError> {
    let found = rows(client, "SELECT nebula.list_routes($1, $2)", &[&actor, &project_id]).await?;
    each(&found, |row| row.try_get(0).map(|Json(route)| route))
}

/// Adds a route, or leads it through another device.
///
/// # Errors
/// 403 not an administrator, 404 no such project or device, 400 not a network that can be led to.
pub async fn add_route(client: &impl GenericClient, actor: Uuid, route: &Route) -> Result<(), ApiError> {
    one(client, "SELECT nebula.add_route_for($1, $2)", &[&actor, &Json(route)]).await.map(drop)
}

/// Takes a route back.
///
/// # Errors
/// 403 not an administrator, 404 no such route.
pub async fn drop_route(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Uuid,
    network: &str,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.drop_route_for($1, $2, $3)";
    one(client, sql, &[&actor, &project_id, &network]).await.map(drop)
}
