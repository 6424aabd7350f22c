//! `node`: servers that host peers and workers.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use nebula_api::node::{DesiredState, Node, NodeDevice, NodeId, NodeRequest};

use super::endpoint::parse_endpoint;
use super::line::parse_line;
use super::{device, project};
use crate::client::Client;
use crate::context::Context;
use crate::error::Result;
use crate::output::clean;

mod change;
mod find;
mod import_key;
mod interface;
mod secret;
mod show;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the nodes: state, score, the reason if one takes no peers, drift, obstacles
    Ls,
    /// Show everything about a node
    Show {
        /// Name or id of the node
        node: String,
    },
    /// Register a node, or update the one of this name
    Register(Register),
    /// Change a node
    Update(Box<change::Update>),
    /// Let a node take peers again
    Enable {
        /// Name or id of the node
        node: String,
    },
    /// Let a node take no new peers, and move those it has to other nodes
    Drain {
        /// Name or id of the node
        node: String,
    },
    /// Let a node take no new peers; those it has stay
    Disable {
        /// Name or id of the node
        node: String,
    },
    /// Remove a node
    Rm(change::Remove),
    /// WireGuard interfaces of a node
    #[command(subcommand)]
    Interface(interface::Command),
    /// On the node: run an interface with the key of another server's wg0.conf, so that its clients go on
    ImportKey(import_key::ImportKey),
    /// Let the device of this server host the peers of strategy local
    LocalDevice(change::LocalDevice),
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
    #[arg(value_parser = parse_line)]
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
    /// Network for the addresses of its peers, outside of the overlay [default: chosen]
    #[arg(long, value_parser = parse_line)]
    cidr: Option<String>,
    /// Capabilities, for example gpu
    #[arg(long = "capability", value_name = "WORD", value_parser = parse_line)]
    capabilities: Vec<String>,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<ExitCode> {
    match command {
        // `secret keep` and `import-key` run on the node itself, and need no account.
        Command::Secret(command) => secret::run(context, command).await,
        Command::ImportKey(arguments) => import_key::run(context, arguments),
        Command::Interface(command) => interface::run(context, command).await,
        Command::Ls => {
            let nodes = find::all(&context.client()?).await?;
            context.output.show(&nodes, || show::table(context.output, &nodes))
        }
        Command::Show { node } => {
            let node = find::named(&context.client()?, &node).await?;
            context.output.show(&node, || show::page(context.output, &node))
        }
        Command::Update(arguments) => change::update(context, *arguments).await,
        Command::Enable { node } => change::set_state(context, &node, DesiredState::Active).await,
        Command::Drain { node } => return change::drain(context, &node).await,
        Command::Disable { node } => change::set_state(context, &node, DesiredState::Disabled).await,
        Command::Rm(arguments) => change::remove(context, arguments).await,
        Command::LocalDevice(arguments) => change::set_local_device(context, arguments).await,
        Command::Register(Register { name, endpoint, weight, max_peers, cidr, capabilities }) => {
            let client = context.client()?;
            let text = format!("Node {} is known.", clean(&name));
            let request = NodeRequest { name, endpoint, weight, max_peers, cidr, capabilities };
            let made: NodeId = client.post("/api/nodes", &request).await?;
            context.output.confirm(&made, || text)
        }
        Command::Tie { node, device, project } => {
            let client = context.client()?;
            let node = find::named(&client, &node).await?;
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
            let client = context.client()?;
            let node = find::named(&client, &node).await?;
            let tied = tie(&client, &node, None).await?;
            context
                .output
                .confirm(&tied, || format!("No device reports for node {} any more.", clean(&node.name)))
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn tie(client: &Client, node: &Node, device_id: Option<uuid::Uuid>) -> Result<NodeDevice> {
    client.put(&format!("/api/nodes/{}/device", node.node_id), &NodeDevice { device_id }).await
}
