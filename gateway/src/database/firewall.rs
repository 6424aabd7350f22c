//! Firewall rules and routes: listed, added, dropped.

use std::net::IpAddr;

use nebula_api::firewall::{Route, Rule};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// A device, as rules see it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) device_id: Uuid,
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Rules of the projects the account sees.
pub(crate) async fn rules(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
) -> Result<Vec<Rule>, ApiError> {
    let rows =
        query(client, "SELECT nebula.list_rules(nebula.actor($1), $2)", &[&actor, &project_id]).await?;
    map_rows(&rows, |row| row.try_get(0).map(|Json(rule)| rule))
}

/// Devices of a project that rules are about. Fails with 404 no such project, 403 not a member, 400 a malformed rule in
/// the draft.
pub(crate) async fn members(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    draft: &[Rule],
) -> Result<Vec<Member>, ApiError> {
    let sql = "SELECT * FROM nebula.access_members(nebula.actor($1), $2, $3)";
    map_rows(&query(client, sql, &[&actor, &project_id, &Json(draft)]).await?, |row| {
        let addresses: Vec<&str> = row.try_get("addresses")?;
        Ok(Member {
            device_id: row.try_get("device_id")?,
            name: row.try_get("name")?,
            groups: row.try_get("groups")?,
            addresses: addresses.into_iter().filter_map(|address| address.parse().ok()).collect(),
        })
    })
}

/// Adds a rule; answers its number.
/// Fails with 403 not an administrator, 404 no such project or device, 400 malformed.
pub(crate) async fn add_rule(
    client: &impl GenericClient,
    actor: &Account,
    rule: &Rule,
) -> Result<i64, ApiError> {
    Ok(query_one(client, "SELECT nebula.add_rule_for(nebula.actor($1), $2)", &[&actor, &Json(rule)])
        .await?
        .try_get(0)?)
}

/// Removes a rule.
/// Fails with 403 not an administrator, 404 no such rule.
pub(crate) async fn drop_rule(
    client: &impl GenericClient,
    actor: &Account,
    rule_id: i64,
) -> Result<(), ApiError> {
    query_one(client, "SELECT nebula.drop_rule_for(nebula.actor($1), $2)", &[&actor, &rule_id])
        .await
        .map(drop)
}

/// Routes of the projects the account sees.
pub(crate) async fn routes(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
) -> Result<Vec<Route>, ApiError> {
    let rows =
        query(client, "SELECT nebula.list_routes(nebula.actor($1), $2)", &[&actor, &project_id]).await?;
    map_rows(&rows, |row| row.try_get(0).map(|Json(route)| route))
}

/// Adds a route, or changes the device it goes through.
/// Fails with 403 not an administrator, 404 no such project or device, 400 a network that cannot be routed.
pub(crate) async fn add_route(
    client: &impl GenericClient,
    actor: &Account,
    route: &Route,
) -> Result<(), ApiError> {
    query_one(client, "SELECT nebula.add_route_for(nebula.actor($1), $2)", &[&actor, &Json(route)])
        .await
        .map(drop)
}

/// Removes a route.
/// Fails with 403 not an administrator, 404 no such route.
pub(crate) async fn drop_route(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    network: &str,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.drop_route_for(nebula.actor($1), $2, $3)";
    query_one(client, sql, &[&actor, &project_id, &network]).await.map(drop)
}
