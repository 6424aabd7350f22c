//! Projects: listing, creating, and the configuration their devices share.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nebula_api::project::{NewProject, Project};
use serde::{Deserialize, Deserializer};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::authority::TrustedAuthority;
use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// Projects the account sees, with counts, by name.
pub(crate) async fn list(client: &impl GenericClient, actor: &Account) -> Result<Vec<Project>, ApiError> {
    map_rows(
        &query(client, "SELECT * FROM nebula.list_projects(nebula.actor($1))", &[&actor]).await?,
        |row| {
            Ok(Project {
                project_id: row.try_get("project_id")?,
                name: row.try_get("name")?,
                cidr: row.try_get("cidr")?,
                created_at: row.try_get("created_at")?,
                devices: row.try_get("devices")?,
                files: row.try_get("files")?,
                used_bytes: row.try_get("used_bytes")?,
                max_bytes: row.try_get("max_bytes")?,
            })
        },
    )
}

/// Creates a project with its first pool. Fails with 403 not an operator, 409 name taken, 400 a name or network that
/// cannot be.
pub(crate) async fn create(
    client: &impl GenericClient,
    actor: &Account,
    NewProject { name, cidr, pool }: &NewProject,
    address: Option<IpAddr>,
) -> Result<Project, ApiError> {
    let sql = "SELECT nebula.create_project_for(nebula.actor($1), $2, $3, $4, $5)";
    let project_id: Uuid = query_one(client, sql, &[&actor, name, cidr, pool, &address]).await?.try_get(0)?;
    let made = list(client, actor).await?.into_iter().find(|project| project.project_id == project_id);
    made.ok_or_else(|| {
        ApiError::not_found("the project was removed meanwhile").hint("List them: GET /api/projects.")
    })
}

/// The versions of the configurations of those projects that exist.
pub(crate) async fn versions(
    client: &impl GenericClient,
    projects: &[Uuid],
) -> Result<HashMap<Uuid, i64>, ApiError> {
    let rows = query(
        client,
        "SELECT * FROM nebula.configuration_versions(nebula.actor($1), $2)",
        &[client.gateway(), &projects],
    )
    .await?;
    let versions = map_rows(&rows, |row| Ok((row.try_get("project_id")?, row.try_get("version")?)))?;
    Ok(versions.into_iter().collect())
}

/// An answer of `nebula.project_configuration`.
#[derive(Debug, Deserialize)]
pub(crate) struct ConfiguredProject {
    #[serde(flatten)]
    pub(crate) config: ProjectConfig,
    /// The authorities that devices trust; empty for a project that never had one.
    pub(crate) trust: Vec<TrustedAuthority>,
}

/// The part of `nebula.yml` that all devices of a project share.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProjectConfig {
    /// Version of the project's configuration.
    pub(crate) version: i64,
    pub(crate) project_id: Uuid,
    #[serde(rename = "project")]
    pub(crate) name: String,
    /// The whole overlay, if the project has one.
    pub(crate) cidr: Option<String>,
    /// Encodings of certificates, 1 and 2.
    pub(crate) certificate_versions: Vec<u8>,
    pub(crate) mtu: u32,
    pub(crate) cipher: String,
    pub(crate) punchy: bool,
    pub(crate) dns_port: Option<u16>,
    /// Domain of the names of devices.
    pub(crate) dns_domain: Option<String>,
    pub(crate) inbound_open: bool,
    pub(crate) outbound_open: bool,
    #[serde(rename = "staticHosts")]
    pub(crate) static_hosts: Vec<StaticHost>,
    /// Quoted and joined as in `nebula.yml`, once for all devices: the list may be long, the devices ten
    /// thousand.
    #[serde(deserialize_with = "comma_separated")]
    pub(crate) blocklist: String,
    pub(crate) routes: Vec<Route>,
    /// The networks of the WireGuard peers of all nodes.
    #[serde(default)]
    pub(crate) peer_pools: Vec<IpNetwork>,
    /// The addresses at which devices reach the gateway; not from the database.
    #[serde(skip)]
    pub(crate) gateway: Vec<IpAddr>,
}

/// A device that other devices' configurations name: a lighthouse or a relay.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StaticHost {
    pub(crate) device_id: Uuid,
    /// Whether it is a lighthouse; otherwise it is a relay.
    pub(crate) lighthouse: bool,
    /// Overlay address.
    pub(crate) ip: String,
    /// `host:port` on the underlay.
    pub(crate) endpoints: Vec<String>,
}

/// A network that is reached through a device.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Route {
    pub(crate) device_id: Uuid,
    pub(crate) network: String,
    pub(crate) via: String,
    pub(crate) mtu: Option<u32>,
    pub(crate) metric: Option<u32>,
}

fn comma_separated<'de, D: Deserializer<'de>>(words: D) -> Result<String, D::Error> {
    let words = Vec::<serde_json::Value>::deserialize(words)?;
    Ok(words.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// The configuration that the devices of a project share. Fails with 404 if there is no such project.
pub(crate) async fn configuration(
    client: &impl GenericClient,
    project_id: Uuid,
) -> Result<ConfiguredProject, ApiError> {
    let row = query_one(
        client,
        "SELECT nebula.project_configuration_for(nebula.actor($1), $2)",
        &[client.gateway(), &project_id],
    )
    .await?;
    let Json(configured) = row.try_get(0)?;
    Ok(configured)
}
