//! `node`: servers that host peers and workers.

use chrono::Utc;
use clap::{Args, Subcommand};
use nebula_api::node::{Node, NodeDevice, NodeId, NodeRequest};

use super::endpoint::parse_endpoint;
use super::{device, project};
use crate::client::Client;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{Output, ago, clean};

mod secret;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the nodes, their health, and whether they take peers
    Ls,
    /// Register a node, or update the one of this name
    Register(Register),
    /// Let the agent of a device report for a node
    Tie {
        /// Name or id of the node
        node: String,
        /// Name or id of the device
        #[arg(long)]
        device: String,
        #[command(flatten)]
        project: project::Choice,
    },
    /// Remove the device that reports for a node
    Untie {
        /// Name or id of the node
        node: String,
    },
    /// Secrets that a node's agent signs its calls with
    #[command(subcommand)]
    Secret(secret::Command),
}

#[derive(Args, Debug)]
pub(crate) struct Register {
    /// Name of the node
    name: String,
    /// host:port of its WireGuard outside of the overlay
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_endpoint)]
    endpoint: String,
    /// Weight: a node with twice the weight gets twice the peers [default: 100]
    #[arg(long)]
    weight: Option<i32>,
    /// Number of peers at most [default: 100]
    #[arg(long, value_name = "COUNT")]
    max_peers: Option<i32>,
    /// Range of the addresses of its peers
    #[arg(long)]
    cidr: Option<String>,
    /// Capabilities, for example gpu
    #[arg(long = "capability", value_name = "WORD")]
    capabilities: Vec<String>,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    // Commands that run on the node itself need no account.
    if let Command::Secret(command) = command {
        return secret::run(context, command).await;
    }
    let client = context.client()?;
    match command {
        Command::Secret(_) | Command::Ls => {
            let nodes = all(&client).await?;
            context.output.show(&nodes, || table(context.output, &nodes))
        }
        Command::Register(Register { name, endpoint, weight, max_peers, cidr, capabilities }) => {
            let text = format!("Node {} is known.", clean(&name));
            let request = NodeRequest { name, endpoint, weight, max_peers, cidr, capabilities };
            let made: NodeId = client.post("/api/nodes", &request).await?;
            context.output.confirm(&made, || text)
        }
        Command::Tie { node, device, project } => {
            let node = named(&client, &node).await?;
            let speaker = device::named(&client, &project, &device).await?;
            let tied = tie(&client, &node, Some(speaker.device_id)).await?;
            context.output.confirm(&tied, || {
                let (speaker, name) = (clean(&speaker.name), clean(&node.name));
                match node.secrets {
                    0 => format!(
                        "The agent of {speaker} speaks for node {name}; it needs no secret of it yet."
                    ),
                    _ => format!(
                        "The agent of {speaker} speaks for node {name}, and has to sign with its secret."
                    ),
                }
            })
        }
        Command::Untie { node } => {
            let node = named(&client, &node).await?;
            let tied = tie(&client, &node, None).await?;
            context
                .output
                .confirm(&tied, || format!("No device reports for node {} any more.", clean(&node.name)))
        }
    }
}

async fn tie(client: &Client, node: &Node, device_id: Option<uuid::Uuid>) -> Result<NodeDevice> {
    client.put(&format!("/api/nodes/{}/device", node.node_id), &NodeDevice { device_id }).await
}

async fn all(client: &Client) -> Result<Vec<Node>> {
    client.get("/api/nodes", &[]).await
}

async fn named(client: &Client, node: &str) -> Result<Node> {
    let named = |known: &Node| known.name == node || known.node_id.to_string().eq_ignore_ascii_case(node);
    all(client).await?.into_iter().find(named).ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no node \"{node}\""))
            .hint("List them: nebulactl node ls")
    })
}

fn table(output: Output, nodes: &[Node]) -> String {
    let now = Utc::now();
    let rows = nodes.iter().map(|node| {
        let state = node.reason.as_deref().unwrap_or("takes peers");
        let load = node.health.as_ref();
        let load = load.map_or_else(|| "-".to_owned(), |one| format!("{:.2}/{}", one.load, one.processors));
        [
            clean(&node.name),
            clean(&node.endpoint),
            format!("{}/{}", node.active_peers, node.max_peers),
            output.state(&clean(state)),
            clean(node.device.as_deref().unwrap_or("-")),
            node.secrets.to_string(),
            node.seen_at.map_or_else(|| "-".to_owned(), |at| ago(at, now)),
            load,
            node.node_id.to_string(),
        ]
    });
    let headings = ["NAME", "ENDPOINT", ">PEERS", "STATE", "DEVICE", ">SECRETS", "REPORTED", ">LOAD", "ID"];
    output.table(headings, rows.collect())
}
