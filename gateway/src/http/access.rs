//! `/api/access`: what devices may reach.

use std::sync::Arc;

use actix_web::web;
use chrono::Utc;
use nebula_api::Envelope;
use nebula_api::access::{Draft, Explanation, Preview};
use serde::Deserialize;
use uuid::Uuid;

use crate::database::{Account, Client, device, firewall, project_options};
use crate::domain::access_preview::{self, Policy};
use crate::domain::explain::{self, End};
use crate::domain::nebula_yml::DeviceConfig;
use crate::domain::nebula_yml::packet::Packet;
use crate::error::ApiError;
use crate::http::extractor::Actor;
use crate::http::object::Object;
use crate::state::AppState;

/// A connection that a device may want to make.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct ConnectionQuery {
    /// The device that connects.
    from: Uuid,
    /// The device that it connects to.
    to: Uuid,
    /// `tcp`, `udp` or `icmp`; `tcp` without it.
    #[param(inline)]
    protocol: Option<Protocol>,
    /// The port, for tcp and udp.
    #[param(minimum = 1, maximum = 65535)]
    port: Option<u16>,
}

/// A protocol that rules tell apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    #[default]
    Tcp,
    Udp,
    Icmp,
}

impl Protocol {
    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

/// Whether one device may reach another, and what stops it first: revocation, addresses, certificates, lighthouses, and
/// the firewall rules that the devices get.
#[utoipa::path(get, path = "/api/access/explain", tag = "access", params(ConnectionQuery),
    responses((status = 200, description = "The checks", body = Envelope<Explanation>)))]
pub(crate) async fn explain(
    state: web::Data<AppState>,
    actor: Actor,
    query: web::Query<ConnectionQuery>,
) -> Result<web::Json<Envelope<Explanation>>, ApiError> {
    let protocol = query.protocol.unwrap_or_default();
    let port = match (protocol, query.port) {
        (Protocol::Icmp, Some(_)) => {
            return Err(ApiError::bad_argument("icmp has no ports").hint("Leave out the port."));
        }
        (Protocol::Icmp, None) => None,
        (_, None | Some(0)) => {
            return Err(ApiError::bad_argument("a connection needs a port").hint("Give one from 1 to 65535."));
        }
        (_, port) => port,
    };
    let client = state.database.client().await?;
    let from = end(&client, &actor.account, query.from).await?;
    let to = end(&client, &actor.account, query.to).await?;
    if from.shown.project_id != to.shown.project_id {
        return Err(ApiError::bad_argument("the devices are in different projects, which are isolated")
            .hint("Name two devices of one project."));
    }
    let packet = Packet { protocol: protocol.word(), port };
    Ok(web::Json(Envelope::new(explain::explain(&from, &to, packet, Utc::now()))))
}

/// A device that the account sees, with its configuration.
async fn end(client: &Client, account: &Account, device_id: Uuid) -> Result<End, ApiError> {
    let shown = device::find(client, account, device_id).await?;
    // A version that no project has, so that the project's part comes along.
    let found = device::configuration(client, device_id, -1).await?;
    let project = found.newer_project.ok_or_else(|| ApiError::internal(&"a device of no project"))?;
    let config = DeviceConfig { project: Arc::new(project.config), device: found.device };
    Ok(End { shown, config })
}

/// Which devices would reach more, and which less, if rules were added and removed. Nothing is changed.
#[utoipa::path(post, path = "/api/access/preview", tag = "access", request_body = Draft,
    responses((status = 200, description = "Gains and losses", body = Envelope<Preview>)))]
pub(crate) async fn preview(
    state: web::Data<AppState>,
    actor: Actor,
    draft: web::Json<Object<Draft>>,
) -> Result<web::Json<Envelope<Preview>>, ApiError> {
    if [&draft.inbound, &draft.outbound].into_iter().flatten().any(|word| word != "open" && word != "closed")
    {
        return Err(
            ApiError::bad_argument("a direction is neither open nor closed").hint("Give open or closed.")
        );
    }
    let client = state.database.client().await?;
    let members = firewall::members(&client, &actor.account, draft.project_id, &draft.add).await?;
    let rules = firewall::rules(&client, &actor.account, Some(draft.project_id)).await?;
    let options = project_options::options(&client, &actor.account, draft.project_id).await?;
    let is_open = |word: &Option<String>| word.as_deref() == Some("open");
    let before =
        Policy { rules, inbound_open: is_open(&options.inbound), outbound_open: is_open(&options.outbound) };
    let after = before.changed(&draft);
    let preview = web::block(move || access_preview::preview(&members, &before, &after)).await;
    let preview = preview.map_err(|error| ApiError::internal(&error))?;
    Ok(web::Json(Envelope::new(preview)))
}
