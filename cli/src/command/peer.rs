//! `peer`: WireGuard clients, such as phones, televisions and routers, that reach the overlay through a node.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use nebula_api::peer::Reach;

use super::line::parse_line;
use super::project;
use crate::context::Context;
use crate::error::{Result, UsageError};

mod change;
mod conf;
mod create;
mod find;
mod hand_out;
mod import;
mod key;
mod picture;
mod plan;
mod request;
mod server_conf;
mod show;

pub(crate) use change::move_away;
pub(crate) use conf::{key_in, read as read_conf};
pub(crate) use server_conf::{ServerConf, ServerPeer, parse as parse_server_conf};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the peers of a project
    Ls {
        /// Only those of this node
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        #[command(flatten)]
        project: project::Choice,
    },
    /// Show everything about a peer
    Show {
        /// Name or id of the peer
        peer: String,
        #[command(flatten)]
        project: project::Choice,
    },
    /// Create a peer; its key pair is made here, and its .conf written or shown as QR code
    Create(Box<create::Create>),
    /// Change a peer
    Update(Box<change::Update>),
    /// Move peers to another node, where each needs its new .conf; or end their moves
    Move(change::Move),
    /// Remove peers; their addresses are free once their nodes have confirmed it
    Rm(change::Remove),
    /// Let a disabled peer in again
    Enable(change::Names),
    /// Keep peers out until they are enabled again
    Disable(change::Names),
    /// Write the .conf of a peer again, with the private key of its old .conf or a new one
    Conf(hand_out::HandOut),
    /// Show the .conf of a peer as QR code, with the private key of its old .conf or a new one
    Qr(hand_out::HandOut),
    /// Take over the peers of another server's wg0.conf; shows what it would do, and asks
    Import(import::Import),
}

/// Destinations and groups of a peer, as options.
#[derive(Args, Debug)]
struct Traffic {
    /// Traffic for its tunnel: overlay, all, or listed (the networks of --network) [default: overlay]
    #[arg(long, value_name = "WHAT", value_parser = parse_reach)]
    reach: Option<Reach>,
    /// A network that it sends into its tunnel, with --reach listed
    #[arg(long = "network", value_name = "CIDR", value_parser = parse_line)]
    networks: Vec<String>,
    /// Groups that firewall rules name
    #[arg(long = "group", value_name = "GROUP", value_parser = parse_line)]
    groups: Vec<String>,
}

impl Traffic {
    /// Networks alone mean that these are listed.
    fn reach(&self) -> Option<Reach> {
        self.reach.or_else(|| (!self.networks.is_empty()).then_some(Reach::Listed))
    }
}

/// The option `--wait`.
#[derive(Args, Clone, Copy, Debug)]
struct Wait {
    /// Wait until the node has applied it [20 seconds, unless it is --wait=SECONDS]; if it does not, nothing
    /// is kept
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "20",
        default_value_t = 0,
        hide_default_value = true,
        value_parser = clap::value_parser!(u32).range(0..=60)
    )]
    wait: u32,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<ExitCode> {
    match command {
        Command::Ls { node, project } => list(context, node.as_deref(), &project).await?,
        Command::Show { peer, project } => {
            let peer = find::one(&context.client()?, &project, &peer).await?;
            context.output.show(&peer, || show::page(context.output, &peer))?;
        }
        Command::Create(arguments) => create::run(context, *arguments).await?,
        Command::Update(arguments) => change::update(context, *arguments).await?,
        Command::Conf(arguments) => hand_out::run(context, arguments, hand_out::Form::File).await?,
        Command::Qr(arguments) => hand_out::run(context, arguments, hand_out::Form::Picture).await?,
        Command::Move(arguments) => return change::relocate(context, arguments).await,
        Command::Rm(arguments) => return change::remove(context, arguments).await,
        Command::Enable(names) => return change::set_disabled(context, names, false).await,
        Command::Disable(names) => return change::set_disabled(context, names, true).await,
        Command::Import(arguments) => return import::run(context, arguments).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context, node: Option<&str>, project: &project::Choice) -> Result<()> {
    let mut peers = find::of_project(&context.client()?, project).await?;
    if let Some(node) = node {
        let is_at = |id: Option<uuid::Uuid>, name: Option<&str>| {
            name == Some(node) || id.is_some_and(|id| id.to_string().eq_ignore_ascii_case(node))
        };
        peers.retain(|peer| {
            is_at(peer.node_id, peer.node.as_deref()) || peer.moving_to.as_deref() == Some(node)
        });
    }
    context.output.show(&peers, || show::table(context.output, &peers))
}

fn parse_reach(text: &str) -> std::result::Result<Reach, UsageError> {
    match text {
        "overlay" => Ok(Reach::Overlay),
        "all" => Ok(Reach::All),
        "listed" => Ok(Reach::Listed),
        _ => Err(UsageError::new("it is overlay, all or listed")),
    }
}
