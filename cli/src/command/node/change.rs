//! `node update`, `enable`, `drain`, `disable`, `rm`, `local-device`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use nebula_api::node::{DesiredState, Node, NodeChanges, NodeDevice};
use serde_json::json;

use super::{find, show};
use crate::command::endpoint::parse_endpoint;
use crate::command::line::{parse_label, parse_line, parse_yes};
use crate::command::{device, peer, project};
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Result, UsageError};
use crate::output::clean;

#[derive(Args, Debug)]
pub(crate) struct Update {
    /// Name or id of the node
    node: String,
    /// New name
    #[arg(long, value_parser = parse_line)]
    name: Option<String>,
    /// host:port of its WireGuard outside of the overlay
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_endpoint)]
    endpoint: Option<String>,
    /// Weight: a node with twice the weight gets twice the peers
    #[arg(long)]
    weight: Option<i32>,
    /// Number of peers at most
    #[arg(long, value_name = "COUNT")]
    max_peers: Option<i32>,
    /// Number of peers above which other nodes are preferred; none: no such number
    #[arg(long, value_name = "COUNT", value_parser = parse_count_or_none)]
    soft_max_peers: Option<Limit>,
    /// All its capabilities, for example gpu
    #[arg(long = "capability", value_name = "WORD", value_parser = parse_line)]
    capabilities: Vec<String>,
    /// All its labels, for --strategy label:KEY=VALUE
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Whether its agent repairs drift (yes) or only reports it (no)
    #[arg(long, value_name = "YES|NO", value_parser = parse_yes)]
    repair: Option<bool>,
}

/// A limit, or none.
type Limit = Box<Option<i32>>;

#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Name or id of the node
    node: String,
    /// Even with peers, and if it does not confirm that they are gone: for a machine that is lost
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(Args, Debug)]
pub(crate) struct LocalDevice {
    /// Name or id of the device of this server, whose agent then runs the interface of strategy local
    #[arg(required_unless_present = "none")]
    device: Option<String>,
    /// End that
    #[arg(long, conflicts_with = "device")]
    none: bool,
    #[command(flatten)]
    project: project::Choice,
}

pub(super) async fn update(context: &Context, arguments: Update) -> Result<()> {
    let labels: BTreeMap<String, String> = arguments.labels.into_iter().collect();
    let changes = NodeChanges {
        name: arguments.name,
        endpoint: arguments.endpoint,
        weight: arguments.weight,
        max_peers: arguments.max_peers,
        soft_max_peers: arguments.soft_max_peers.map(|limit| *limit),
        capabilities: (!arguments.capabilities.is_empty()).then_some(arguments.capabilities),
        labels: (!labels.is_empty()).then_some(labels),
        repair: arguments.repair,
        desired_state: None,
    };
    let changed = patch(context, &arguments.node, &changes).await?;
    context.output.show(&changed, || show::page(context.output, &changed))
}

/// Enables or disables a node.
pub(super) async fn set_state(context: &Context, node: &str, state: DesiredState) -> Result<()> {
    let changes = NodeChanges { desired_state: Some(state), ..NodeChanges::default() };
    let changed = patch(context, node, &changes).await?;
    let name = clean(&changed.name);
    context.output.confirm(&changed, || match state {
        DesiredState::Active => {
            let reason = changed.reason.as_deref().map(|reason| format!("; not yet: {}", clean(reason)));
            format!("{name} takes peers{}.", reason.unwrap_or_default())
        }
        _ => format!("{name} takes no new peers; its {} stay.", changed.active_peers),
    })
}

/// Sets a node to draining, and moves its peers to others; those that no node has room for stay.
pub(super) async fn drain(context: &Context, node: &str) -> Result<ExitCode> {
    let changes = NodeChanges { desired_state: Some(DesiredState::Draining), ..NodeChanges::default() };
    let changed = patch(context, node, &changes).await?;
    context.output.message(&format!("{} takes no new peers.", clean(&changed.name)))?;
    peer::move_away(context, changed.node_id).await
}

async fn patch(context: &Context, node: &str, changes: &NodeChanges) -> Result<Node> {
    let client = context.client()?;
    let node = find::named(&client, node).await?;
    client.patch(&format!("/api/nodes/{}", node.node_id), changes).await
}

pub(super) async fn remove(context: &Context, arguments: Remove) -> Result<()> {
    let client = context.client()?;
    let node = find::named(&client, &arguments.node).await?;
    let name = clean(&node.name);
    let peers = match node.active_peers {
        0 => String::new(),
        count if arguments.force => format!(" and its {count} peers"),
        count => format!(", which has {count} peers,"),
    };
    if !arguments.confirmation.given(context, &format!("Remove node {name}{peers} permanently?"))? {
        return Ok(());
    }
    let path = format!("/api/nodes/{}", node.node_id);
    client.delete_with(&path, &[("force", arguments.force.to_string())]).await?;
    context.output.confirm(&json!({ "nodeId": node.node_id }), || format!("Node {name} is removed."))
}

pub(super) async fn set_local_device(context: &Context, arguments: LocalDevice) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let device = match &arguments.device {
        Some(name) => Some(device::named(&client, &arguments.project, name).await?),
        None => None,
    };
    let request = NodeDevice { device_id: device.as_ref().map(|device| device.device_id) };
    let path = format!("/api/projects/{}/local-device", project.project_id);
    let set: Option<NodeDevice> = client.put(&path, &request).await?;
    context.output.confirm(&set.unwrap_or(request), || match device {
        Some(device) => format!("The agent of {} runs the peers of this server.", clean(&device.name)),
        None => "No device runs the peers of this server any more.".to_owned(),
    })
}

fn parse_count_or_none(text: &str) -> std::result::Result<Limit, UsageError> {
    if text == "none" {
        return Ok(Box::new(None));
    }
    let wrong = |_| UsageError::new("it is a number of peers, or none");
    text.parse().map(|count| Box::new(Some(count))).map_err(wrong)
}
