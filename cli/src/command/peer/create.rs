//! `peer create`: the private key is made here, goes into the `.conf`, and nowhere else.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Args;
use nebula_api::peer::{CreatePeers, NewPeer, PRIVATE_KEY_PLACEHOLDER, Peer, PeerState};
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::key::{KeyPair, parse_public_key};
use super::{Traffic, Wait, conf, find, picture, request, show};
use crate::client::Client;
use crate::command::lifetime::parse_end;
use crate::command::line::parse_line;
use crate::command::project;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::clean;

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Name of the peer, such as phone
    #[arg(value_parser = parse_line)]
    name: String,
    #[command(flatten)]
    project: project::Choice,
    /// Node that serves it: auto (lowest score), local (this server), a node by name or id,
    /// capability:WORD, label:KEY=VALUE
    #[arg(long, default_value = "auto", value_parser = parse_line)]
    strategy: String,
    /// This address of the node's pool, and no other
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    #[command(flatten)]
    traffic: Traffic,
    /// Add a preshared key, which protects the tunnel from future quantum computers
    #[arg(long)]
    preshared: bool,
    /// End of its access: 12h, 7d, 2027-01-31 [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_end)]
    expires: Option<DateTime<Utc>>,
    /// Keep it out until it is enabled
    #[arg(long)]
    disabled: bool,
    /// Public key of a pair that its owner has made; the .conf then has a place for the private key
    #[arg(long, value_name = "KEY", value_parser = parse_public_key)]
    public_key: Option<String>,
    /// Show the .conf as QR code in this terminal instead of writing a file
    #[arg(long, conflicts_with_all = ["out", "public_key"])]
    qr: bool,
    /// Write the .conf there; - is standard output [default: NAME.conf in this folder]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    wait: Wait,
}

/// The result in JSON.
#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    peer: Peer,
    /// The `.conf`, unless it was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, arguments: Create) -> Result<()> {
    let printed = arguments.out.as_deref().is_some_and(|out| out == "-");
    if context.output.json && (printed || arguments.qr) {
        return Err(Error::new(Code::InvalidArgument, "with --json standard output is one JSON document")
            .hint("Let the .conf be written to a file."));
    }
    let target = arguments.out.clone().filter(|_| !printed);
    conf::require_free(target.as_deref())?;
    let client = context.client()?;
    let (pair, public_key) = match arguments.public_key.clone() {
        Some(public_key) => (None, public_key),
        None => {
            let pair = KeyPair::generate()?;
            let public_key = pair.public.clone();
            (Some(pair), public_key)
        }
    };
    let (qr, name) = (arguments.qr, arguments.name.clone());
    let request = request(&client, arguments, public_key).await?;
    let sent = request::send(context, &client, &request).await;
    let peer = sent.map_err(|error| unclear(error, target.as_deref(), &name, pair.as_ref()))?;
    let unfinished = |error: Error| unfinished(error, &peer);
    let config = find::config(&client, peer.peer_id).await.map_err(unfinished)?;
    let private_key = pair.as_ref().map_or(PRIVATE_KEY_PLACEHOLDER, KeyPair::private);
    let text = conf::fill(&config.conf, private_key).map_err(unfinished)?;
    if printed {
        return context.output.line(text.trim_end());
    }
    if qr && shown(context, &text) {
        return context.output.message(&sentence(&peer));
    }
    let file = conf::write(target.as_deref(), &config, &text).map_err(unfinished)?;
    let described = describe(&peer, &file, pair.is_some());
    context.output.confirm(&Created { peer, file: Some(file) }, || described)
}

async fn request(client: &Client, arguments: Create, public_key: String) -> Result<CreatePeers> {
    let project = arguments.project.resolve(client).await?;
    let reach = arguments.traffic.reach().unwrap_or_default();
    let peer = NewPeer {
        peer_id: Some(Uuid::new_v4()),
        name: arguments.name,
        public_key,
        preshared: arguments.preshared,
        preshared_key: None,
        address: arguments.address.map(|address| address.to_string()),
        reach,
        networks: arguments.traffic.networks,
        groups: arguments.traffic.groups,
        expires_at: arguments.expires,
        disabled: arguments.disabled,
    };
    let (strategy, wait) = (arguments.strategy, arguments.wait.wait);
    Ok(CreatePeers { project_id: project.project_id, strategy, peers: vec![peer], wait })
}

/// Keeps the private key of a peer that may exist, and says how to go on.
fn unclear(error: Error, target: Option<&Path>, name: &str, pair: Option<&KeyPair>) -> Error {
    if !error.may_be_done() {
        return error;
    }
    let Some(pair) = pair else { return error.hint("The peer may exist all the same: nebulactl peer ls") };
    match request::keep_key(target, name, pair) {
        Ok(file) => {
            let file = file.display();
            error.hint(format!(
                "The peer may exist all the same: nebulactl peer ls. Its private key is in {file}; if it exists, \
                 this completes the file: nebulactl peer conf --key-from {file}"
            ))
        }
        Err(kept) => error.hint(format!(
            "The peer may exist all the same, and its private key is lost ({kept}). If nebulactl peer ls shows it: \
             nebulactl peer conf '{}' --new-key",
            clean(name)
        )),
    }
}

/// Shows the QR code. If that is not possible, a note says why, and the caller writes the file: the key
/// would otherwise be lost.
fn shown(context: &Context, text: &Zeroizing<String>) -> bool {
    let shown = picture::picture(text).and_then(|picture| picture::show(context, &picture));
    if let Err(error) = &shown {
        context.output.error(error);
    }
    shown.is_ok()
}

/// The peer exists, but its private key is lost.
fn unfinished(error: Error, peer: &Peer) -> Error {
    let name = clean(&peer.name);
    let first = error.failure().hint.clone().map(|hint| hint + " ").unwrap_or_default();
    let hint = format!(
        "The peer exists; its .conf is made with another key: nebulactl peer conf '{name}' --new-key"
    );
    error.hint(first + &hint)
}

fn describe(peer: &Peer, file: &Path, has_key: bool) -> String {
    let file = file.display();
    let file = if has_key {
        format!(
            "Wrote {file}. Its private key is nowhere else.\nAs QR code for a phone: nebulactl peer qr --key-from {file}"
        )
    } else {
        format!("Wrote {file}; put the private key into it in place of {PRIVATE_KEY_PLACEHOLDER}.")
    };
    format!("{}\n{file}", sentence(peer))
}

/// `phone is 10.77.0.2 on node2, which has not confirmed it yet.`
fn sentence(peer: &Peer) -> String {
    let node = show::place(peer);
    let state = match (peer.state, peer.reason.as_deref()) {
        (PeerState::Pending, _) => ", which has not confirmed it yet".to_owned(),
        (PeerState::Active, _) => String::new(),
        (state, Some(reason)) => format!(", {}: {}", show::word(state), clean(reason)),
        (state, None) => format!(", {}", show::word(state)),
    };
    format!("{} is {} on {node}{state}.", clean(&peer.name), peer.addresses.join(" and "))
}
