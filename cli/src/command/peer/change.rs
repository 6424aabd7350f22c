//! `peer update`, `move`, `rm`, `enable`, `disable`.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use nebula_api::peer::{Peer, PeerChanges, PeerChoice, PeerResult, PeerState};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Traffic, Wait, find, show};
use crate::client::Client;
use crate::command::lifetime::parse_end;
use crate::command::line::{parse_line, parse_yes};
use crate::command::project;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Result, UsageError};
use crate::output::clean;

/// Items of one request; the gateway takes bodies of up to 64 kB.
const BATCH: usize = 500;

/// Peers by name.
#[derive(Args, Debug)]
pub(crate) struct Names {
    /// Names or ids of the peers
    #[arg(required = true, value_name = "PEER")]
    peers: Vec<String>,
    #[command(flatten)]
    project: project::Choice,
}

#[derive(Args, Debug)]
pub(crate) struct Move {
    #[command(flatten)]
    names: Names,
    /// Where to: auto, local, a node by name or id, capability:WORD, label:KEY=VALUE
    #[arg(long, value_name = "STRATEGY", value_parser = parse_line, required_unless_present = "cancel")]
    to: Option<String>,
    /// Let them stay where they are, instead of a move that has begun
    #[arg(long, conflicts_with_all = ["to", "wait"])]
    cancel: bool,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Args, Debug)]
pub(crate) struct Remove {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(Args, Debug)]
pub(crate) struct Update {
    /// Name or id of the peer
    peer: String,
    #[command(flatten)]
    project: project::Choice,
    /// New name
    #[arg(long, value_parser = parse_line)]
    name: Option<String>,
    #[command(flatten)]
    traffic: Traffic,
    /// Take it out of all groups
    #[arg(long, conflicts_with = "groups")]
    no_groups: bool,
    /// Make a new preshared key (yes), or remove it (no)
    #[arg(long, value_name = "YES|NO", value_parser = parse_yes)]
    preshared: Option<bool>,
    /// End of its access: 12h, 7d, 2027-01-31, never
    #[arg(long, value_name = "TIME", value_parser = parse_end_or_never)]
    expires: Option<End>,
}

/// An end of access, or none.
type End = Box<Option<DateTime<Utc>>>;

pub(super) async fn update(context: &Context, arguments: Update) -> Result<()> {
    let client = context.client()?;
    let peer = find::one(&client, &arguments.project, &arguments.peer).await?;
    let reach = arguments.traffic.reach();
    let Traffic { networks, groups, .. } = arguments.traffic;
    let changes = PeerChanges {
        name: arguments.name,
        public_key: None,
        preshared: arguments.preshared,
        reach,
        networks: (!networks.is_empty()).then_some(networks),
        groups: (arguments.no_groups || !groups.is_empty()).then_some(groups),
        expires_at: arguments.expires.map(|end| *end),
        disabled: None,
    };
    let changed: Peer = client.patch(&format!("/api/peers/{}", peer.peer_id), &changes).await?;
    context.output.show(&changed, || show::page(context.output, &changed))
}

pub(super) async fn set_disabled(context: &Context, names: Names, disabled: bool) -> Result<ExitCode> {
    let client = context.client()?;
    let peers = find::named(&client, &names.project, &names.peers).await?;
    let mut results = Vec::new();
    for peer in &peers {
        let changes = PeerChanges { disabled: Some(disabled), ..PeerChanges::default() };
        let changed: Result<Peer> = client.patch(&format!("/api/peers/{}", peer.peer_id), &changes).await;
        results.push(changed.map(Some));
    }
    report(context, &peers, results, |name, peer| {
        let state = peer.map(|peer| show::word(peer.state)).unwrap_or_default();
        let verb = if disabled { "kept out" } else { "let in" };
        format!("{name} is {verb} ({state}).")
    })
}

pub(super) async fn relocate(context: &Context, arguments: Move) -> Result<ExitCode> {
    let client = context.client()?;
    let peers = find::named(&client, &arguments.names.project, &arguments.names.peers).await?;
    match arguments.to {
        Some(strategy) => move_to(context, &client, &peers, strategy, arguments.wait.wait).await,
        None => cancel_move(context, &client, &peers).await,
    }
}

async fn cancel_move(context: &Context, client: &Client, peers: &[Peer]) -> Result<ExitCode> {
    let mut results = Vec::new();
    for peer in peers {
        let stays: Result<Peer> = client.delete_for(&format!("/api/peers/{}/move", peer.peer_id)).await;
        results.push(stays.map(Some));
    }
    report(context, peers, results, |name, peer| {
        format!("{name} stays on {}.", peer.map(show::place).unwrap_or_default())
    })
}

/// Moves all peers of a node to the others.
pub(crate) async fn move_away(context: &Context, node_id: Uuid) -> Result<ExitCode> {
    let client = context.client()?;
    let mut peers: Vec<Peer> = client.get("/api/peers", &[]).await?;
    let stays = |peer: &Peer| peer.moving_to.is_none() && peer.state != PeerState::Leaving;
    peers.retain(|peer| peer.node_id == Some(node_id) && stays(peer));
    move_to(context, &client, &peers, "auto".to_owned(), 0).await
}

async fn move_to(
    context: &Context,
    client: &Client,
    peers: &[Peer],
    strategy: String,
    wait: u32,
) -> Result<ExitCode> {
    let results = batches(client, "/api/peers/move", peers, Some(strategy), wait).await?;
    let moved = results.iter().any(Result::is_ok);
    let code = report(context, peers, results, |name, peer| match peer {
        Some(peer) => format!("{name}: {}, {}", show::place(peer), peer.addresses.join(" and ")),
        None => format!("{name} moves."),
    })?;
    if moved {
        context.output.note(
            "each peer stays where it is until it uses its new .conf: nebulactl peer conf NAME, or peer qr NAME",
        );
    }
    Ok(code)
}

pub(super) async fn remove(context: &Context, arguments: Remove) -> Result<ExitCode> {
    let client = context.client()?;
    let peers = find::named(&client, &arguments.names.project, &arguments.names.peers).await?;
    let names = peers.iter().map(|peer| clean(&peer.name)).collect::<Vec<_>>().join(", ");
    if !arguments.confirmation.given(context, &format!("Remove {names} permanently?"))? {
        return Ok(ExitCode::SUCCESS);
    }
    let results = batches(&client, "/api/peers/remove", &peers, None, arguments.wait.wait).await?;
    report(context, &peers, results, |name, peer| match peer {
        Some(_) => format!("{name} is removed; its address is free once its node has confirmed it."),
        None => format!("{name} is removed."),
    })
}

/// Sends the peers in batches; answers a result for each, in their order.
async fn batches(
    client: &Client,
    path: &str,
    peers: &[Peer],
    strategy: Option<String>,
    wait: u32,
) -> Result<Vec<Result<Option<Peer>>>> {
    let mut all = Vec::new();
    for batch in peers.chunks(BATCH) {
        let peer_ids = batch.iter().map(|peer| peer.peer_id).collect();
        let request = PeerChoice { peer_ids, strategy: strategy.clone(), wait };
        let results: Vec<PeerResult> = client.post_waiting(path, &request, wait).await?;
        all.extend(results.into_iter().map(outcome));
    }
    Ok(all)
}

fn outcome(result: PeerResult) -> Result<Option<Peer>> {
    match result.error {
        Some(error) => Err(find::item_error(error)),
        None => Ok(result.peer),
    }
}

/// Prints a result for each peer; one that failed counts in the exit status.
fn report(
    context: &Context,
    peers: &[Peer],
    results: Vec<Result<Option<Peer>>>,
    text: impl Fn(&str, Option<&Peer>) -> String,
) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut documents: Vec<Value> = Vec::new();
    for (peer, result) in peers.iter().zip(results) {
        match result {
            Ok(changed) => {
                context.output.message(&text(&clean(&peer.name), changed.as_ref()))?;
                documents.push(json!({ "peerId": peer.peer_id, "name": peer.name, "peer": changed }));
            }
            Err(error) => {
                code = ExitCode::FAILURE;
                let error = error.about(&peer.name);
                if !context.output.json {
                    context.output.error(&error);
                }
                documents
                    .push(json!({ "peerId": peer.peer_id, "name": peer.name, "error": error.failure() }));
            }
        }
    }
    if context.output.json {
        context.output.show(&documents, String::new)?;
    }
    Ok(code)
}

fn parse_end_or_never(text: &str) -> std::result::Result<End, UsageError> {
    if text == "never" { Ok(Box::new(None)) } else { parse_end(text).map(|end| Box::new(Some(end))) }
}
