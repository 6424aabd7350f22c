//! `node import-key`: a node takes the place of a WireGuard server. Run on the node, whose agent keeps the keys of
//! its interfaces; the private key goes nowhere else.

use std::path::PathBuf;

use clap::Args;
use ipnetwork::IpNetwork;
use serde_json::json;

use super::interface::parse_name;
use crate::agent::wireguard::OwnInterface;
use crate::command::peer::{ServerConf, ServerPeer, key_in, parse_server_conf, read_conf};
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::device_folder::existing_folder;
use crate::error::{Code, Error, Result};
use crate::output::clean;

/// Peers that an error names.
const NAMED: usize = 5;

#[derive(Args, Debug)]
pub(crate) struct ImportKey {
    /// The server's wg0.conf, whose peers were imported
    file: PathBuf,
    /// The interface of this node [default: the one named as the file, or the only one]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    interface: Option<String>,
    /// Even if peers of the file cannot go on with the .conf that they have
    #[arg(long)]
    lose_peers: bool,
    /// Folder of the device [default: /etc/nebula for root, else ./nebula-NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    confirmation: Confirmation,
}

pub(super) fn run(context: &Context, arguments: ImportKey) -> Result<()> {
    let folder = arguments.dir.unwrap_or_else(existing_folder);
    let text = read_conf(&arguments.file)?;
    let file = arguments.file.display();
    let pair = key_in(&text).ok_or_else(|| {
        Error::new(Code::InvalidArgument, format!("{file} has no private key"))
            .hint("It is in the line PrivateKey of the server's own file, such as /etc/wireguard/wg0.conf.")
    })?;
    let stem = arguments.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = arguments.interface.or(stem).unwrap_or_default();
    let interface = OwnInterface::find(&folder, &name)?;
    let conf = parse_server_conf(&text);
    check_port(&interface, &conf)?;
    let lost = lost(&interface, &conf);
    if !lost.is_empty() && !arguments.lose_peers {
        return Err(cannot_go_on(&lost));
    }
    let name = interface.name();
    let question = format!(
        "Let {name} run with the key of {file}? Peers with a .conf for its present key need a new one."
    );
    if !arguments.confirmation.given(context, &question)? {
        return Ok(());
    }
    let changed = interface.adopt(&folder, pair.private())?;
    let value = json!({ "interface": name, "publicKey": pair.public, "changed": changed, "lost": lost });
    context.output.confirm(&value, || match changed {
        true => format!(
            "{name} runs with the key of {file} within half a minute. If wg-quick has {name} up, leave it so, and only \
             keep it from starting again: systemctl disable wg-quick@{name}"
        ),
        false => format!("{name} has the key of {file} already."),
    })
}

/// Clients send to the port in their `.conf`.
fn check_port(interface: &OwnInterface, conf: &ServerConf) -> Result<()> {
    let (name, wanted) = (interface.name(), interface.listen_port());
    match conf.listen_port.filter(|port| *port != wanted) {
        Some(port) => Err(Error::new(
            Code::WrongState,
            format!("the clients of the file send to port {port}, and {name} listens on {wanted}"),
        )
        .hint(format!("Give it that port: nebulactl node interface set NODE {name} --port {port}"))),
        None => Ok(()),
    }
}

/// The peers of the file that cannot go on with the `.conf` that they have, and why.
fn lost(interface: &OwnInterface, conf: &ServerConf) -> Vec<String> {
    let enabled = conf.peers.iter().filter(|peer| !peer.disabled);
    enabled
        .filter_map(|peer| {
            let reason = reason(interface, peer)?;
            let name = peer.name.as_deref().map_or_else(|| format!("line {}", peer.line), clean);
            Some(format!("{name} {reason}"))
        })
        .collect()
}

fn reason(interface: &OwnInterface, peer: &ServerPeer) -> Option<&'static str> {
    let Some(own) = interface.peer(peer.public_key.as_deref()?) else {
        return Some("is no peer of this node");
    };
    let allowed: Vec<IpNetwork> = own.allowed_ips.iter().filter_map(|text| text.parse().ok()).collect();
    if !peer.addresses.iter().all(|address| allowed.iter().any(|network| network.contains(*address))) {
        return Some("has another address here");
    }
    let preshared = peer.preshared_key.as_ref().map(|key| key.text());
    (own.preshared_key != preshared).then_some("has another preshared key here")
}

fn cannot_go_on(lost: &[String]) -> Error {
    let mut named = lost.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if lost.len() > NAMED {
        named += &format!(", and {} more", lost.len() - NAMED);
    }
    Error::new(Code::WrongState, format!("not all peers of the file would go on: {named}")).hint(
        "Import them first: nebulactl peer import FILE --strategy NODE, with the network of their addresses on the \
         node's interface; the node has them some seconds later. Or leave them behind with --lose-peers.",
    )
}
