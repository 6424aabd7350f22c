//! `peer conf` and `peer qr`: the `.conf` again, after a move or another change.

use std::path::{Path, PathBuf};

use clap::Args;
use nebula_api::peer::{Peer, PeerChanges};
use serde_json::json;

use super::key::KeyPair;
use super::{conf, find, picture};
use crate::atomic_file::{self, PRIVATE};
use crate::client::Client;
use crate::command::project;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::clean;

#[derive(Args, Debug)]
pub(crate) struct HandOut {
    /// Name or id of the peer [default: the one whose key is in --key-from]
    #[arg(required_unless_present = "key_from")]
    peer: Option<String>,
    #[command(flatten)]
    project: project::Choice,
    /// Take the private key from this .conf [default: NAME.conf in this folder]
    #[arg(long, value_name = "FILE", conflicts_with = "new_key")]
    key_from: Option<PathBuf>,
    /// Make a new key pair; the old .conf ends
    #[arg(long)]
    new_key: bool,
    /// Write the .conf there; - is standard output [default: the file that the key comes from, else NAME.conf]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// How the `.conf` is handed out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    File,
    Picture,
}

/// A private key, and the file that it comes from.
struct Source {
    pair: KeyPair,
    file: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, arguments: HandOut, form: Form) -> Result<()> {
    let printed = arguments.out.as_deref().is_some_and(|out| out == Path::new("-"));
    let target = arguments.out.as_deref().filter(|_| !printed);
    conf::require_free(target)?;
    let client = context.client()?;
    let (peer, source) = match arguments.key_from.as_deref() {
        Some(file) => from_file(&client, &arguments, file).await?,
        None => {
            let name = arguments.peer.as_deref().unwrap_or_default();
            let peer = find::one(&client, &arguments.project, name).await?;
            match source(context, &client, &arguments, &peer).await? {
                Some(source) => (peer, source),
                None => return Ok(()),
            }
        }
    };
    let config = find::config(&client, peer.peer_id).await?;
    let text = conf::fill(&config.conf, source.pair.private())?;
    if form == Form::Picture && target.is_none() {
        return picture::show(context, &picture::picture(&text)?);
    }
    if printed {
        return context.output.line(text.trim_end());
    }
    let file = match (target, source.file) {
        (None, Some(file)) => {
            atomic_file::write_atomic(&file, text.as_bytes(), PRIVATE)?;
            file
        }
        (target, _) => conf::write(target, &config, &text)?,
    };
    let value = json!({ "peerId": peer.peer_id, "file": file });
    context.output.confirm(&value, || format!("Wrote {} for {}.", file.display(), clean(&peer.name)))
}

/// The key in a file, and the peer that it belongs to.
async fn from_file(client: &Client, arguments: &HandOut, file: &Path) -> Result<(Peer, Source)> {
    let pair = conf::key_in(&conf::read(file)?).ok_or_else(|| {
        Error::new(Code::InvalidArgument, format!("{} has no private key", file.display()))
            .hint("It is in the line PrivateKey of a .conf that nebulactl has written.")
    })?;
    let peers = find::of_project(client, &arguments.project).await?;
    let peer = peers.into_iter().find(|peer| peer.public_key == pair.public);
    let named = |peer: &Peer| {
        arguments
            .peer
            .as_deref()
            .is_none_or(|name| peer.name == name || peer.peer_id.to_string().eq_ignore_ascii_case(name))
    };
    let peer = peer.filter(named).ok_or_else(|| {
        Error::new(Code::NotFound, format!("the key in {} is not that of the peer", file.display()))
            .hint("Make a new key pair: nebulactl peer conf NAME --new-key")
    })?;
    Ok((peer, Source { pair, file: Some(file.to_owned()) }))
}

/// A new key pair, or the key in NAME.conf in this folder; `None` after a no to the question.
async fn source(
    context: &Context,
    client: &Client,
    arguments: &HandOut,
    peer: &Peer,
) -> Result<Option<Source>> {
    let name = clean(&peer.name);
    if !arguments.new_key {
        let file = PathBuf::from(format!("{}.conf", peer.file_name));
        let pair = if peer.file_name.contains('/') { None } else { conf::read(&file).ok() };
        let pair = pair.and_then(|text| conf::key_in(&text)).filter(|pair| pair.public == peer.public_key);
        return match pair {
            Some(pair) => Ok(Some(Source { pair, file: Some(file) })),
            None => {
                Err(Error::new(Code::NotFound, format!("the private key of {name} is not in this folder"))
                    .hint("Name its .conf with --key-from, or make a new key pair with --new-key."))
            }
        };
    }
    let question = format!("Give {name} a new key? Its old .conf ends at once.");
    if !arguments.confirmation.given(context, &question)? {
        return Ok(None);
    }
    let pair = KeyPair::generate()?;
    let changes = PeerChanges { public_key: Some(pair.public.clone()), ..PeerChanges::default() };
    let _: Peer = client.patch(&format!("/api/peers/{}", peer.peer_id), &changes).await?;
    Ok(Some(Source { pair, file: None }))
}
