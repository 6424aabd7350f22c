//! From a name to an overlay address: asked of the gateway as this machine's device, which needs no account;
//! else among the tunnels that its agent knows; else as the account that is signed in.

use std::net::IpAddr;
use std::path::Path;

use chrono::{DateTime, Utc};
use nebula_api::agent::FindDevice;

use crate::agent::gateway::Gateway;
use crate::agent::state::{self, Identity};
use crate::agent::{report, update};
use crate::command::{device, project};
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::clean;

/// A device to ask.
pub(super) struct Target {
    /// None for an address that was given as such.
    pub(super) name: Option<String>,
    pub(super) address: IpAddr,
    /// When the gateway heard of its agent last.
    pub(super) last_seen_at: Option<DateTime<Utc>>,
}

pub(super) async fn target(
    context: &Context,
    wanted: &str,
    folder: &Path,
    project: &project::Choice,
) -> Result<Target> {
    if let Ok(address) = wanted.parse() {
        return Ok(Target { name: None, address, last_seen_at: None });
    }
    match state::identity(folder) {
        Ok(Some(identity)) => as_device(wanted, folder, &identity).await,
        // No device here, or one whose folder only root may read.
        identity => as_account(context, wanted, project).await.map_err(|error| match identity {
            Err(unreadable) => error.hint(format!(
                "As root this machine's device can ask for names: sudo nebulactl ping ({unreadable})"
            )),
            Ok(_) => error,
        }),
    }
}

async fn as_device(wanted: &str, folder: &Path, identity: &Identity) -> Result<Target> {
    let found = async {
        let none = || Error::new(Code::WrongState, "this device has no configuration yet");
        let credential = state::current(folder)?.ok_or_else(none)?.credential;
        let question = FindDevice { nonce: update::nonce()?, name: wanted.to_owned() };
        Gateway::new(&identity.server, folder)?.find_device(&credential, &question).await
    };
    let found = match found.await {
        Ok(found) => found,
        // The overlay works without its gateway: a name with a tunnel is known here, too.
        Err(error) => return known_peer(wanted, folder)?.ok_or(error),
    };
    let found = found.ok_or_else(|| {
        let network = clean(&identity.network.name);
        Error::new(Code::NotFound, format!("there is no device \"{wanted}\" in {network}"))
            .hint("An administrator sees them all: nebulactl device ls")
    })?;
    let address = found.addresses.iter().find_map(|address| address.parse().ok());
    let address = address.ok_or_else(|| no_address(&found.name))?;
    Ok(Target { name: Some(found.name), address, last_seen_at: found.last_seen_at })
}

fn known_peer(wanted: &str, folder: &Path) -> Result<Option<Target>> {
    let peers = report::last(folder)?.unwrap_or_default().peers;
    let known = peers.into_iter().find(|peer| peer.name.eq_ignore_ascii_case(wanted));
    Ok(known.and_then(|peer| {
        Some(Target { address: peer.address.parse().ok()?, name: Some(peer.name), last_seen_at: None })
    }))
}

async fn as_account(context: &Context, wanted: &str, project: &project::Choice) -> Result<Target> {
    let found = device::named(&context.client()?, project, wanted).await?;
    let address = found.nebula_ip.as_deref().and_then(|address| address.parse().ok());
    let address = address.ok_or_else(|| no_address(&found.name))?;
    Ok(Target { name: Some(found.name), address, last_seen_at: found.last_seen_at })
}

fn no_address(name: &str) -> Error {
    Error::new(Code::WrongState, format!("\"{name}\" has no overlay address, because it was released"))
        .hint("It joins again with a new code: nebulactl enrolment create")
}
