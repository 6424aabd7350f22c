//! `ping NAME`: echo requests through the overlay, and the way that they take.

use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::find::{self, Target};
use super::{echo, project};
use crate::agent::report::{self, PeerStatus, Status};
use crate::agent::state::AgentFolder;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{ago, clean, duration};

/// The agent reads nebula's log every two seconds: a new tunnel is known after that time.
const AGENT_DELAY: Duration = Duration::from_secs(4);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How packets to a device travel.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// To this address on the underlay.
    Direct(String),
    /// Through this relay.
    Relay(String),
    /// To this machine itself.
    Here,
    /// No agent here tells.
    Unknown,
}

pub(super) async fn ping(
    context: &Context,
    name: &str,
    count: u16,
    folder: &Path,
    choice: &project::Choice,
) -> Result<()> {
    let target = find::target(context, name, folder, choice).await?;
    let times = echo::ask(target.address, count).await?;
    let shown = match &target.name {
        Some(name) => format!("{} ({})", clean(name), target.address),
        None => target.address.to_string(),
    };
    if times.is_empty() {
        return Err(silent(&shown, &target, folder));
    }
    let way = way(&target, folder).await;
    let average = times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap_or(u32::MAX);
    let (path, via) = match &way {
        Way::Direct(remote) => ("direct", Some(remote)),
        Way::Relay(relay) => ("relay", Some(relay)),
        Way::Here => ("local", None),
        Way::Unknown => ("unknown", None),
    };
    let value = json!({
        "name": target.name, "address": target.address, "sent": count, "received": times.len(),
        "roundTripMs": average.as_secs_f64() * 1000.0, "path": path, "via": via,
    });
    context.output.show(&value, || {
        let way = match &way {
            Way::Direct(remote) => format!("directly, at {}", clean(remote)),
            Way::Relay(relay) => format!("through the relay {}", clean(relay)),
            Way::Here => "it is this machine".to_owned(),
            Way::Unknown => "its path is unknown, because no agent here has seen the handshake".to_owned(),
        };
        format!("{shown} answers in {}, {} of {count}: {way}", duration(average), times.len())
    })
}

/// The way, as nebula has logged it with the last handshake. Without an agent that may be read, unknown.
async fn way(target: &Target, folder: &Path) -> Way {
    let is_own = |identity: &crate::agent::state::Identity| {
        identity
            .host
            .ip_addresses
            .iter()
            .chain([&identity.host.ip_address])
            .any(|own| own.parse() == Ok(target.address))
    };
    if crate::agent::state::identity(folder).is_ok_and(|identity| identity.as_ref().is_some_and(is_own)) {
        return Way::Here;
    }
    if AgentFolder::holder(folder).is_none() {
        return Way::Unknown;
    }
    let started = Instant::now();
    loop {
        let status = report::last(folder).ok().flatten().unwrap_or_default();
        match way_in(&status, &target.address.to_string()) {
            Way::Unknown if started.elapsed() < AGENT_DELAY => sleep(POLL_INTERVAL).await,
            way => return way,
        }
    }
}

/// The agent writes a relay as `relay` with its address: that on the underlay with nebula 1.11, on the
/// overlay with 1.6.
fn way_in(status: &Status, address: &str) -> Way {
    let has_address =
        |peer: &&PeerStatus| peer.address == address || peer.addresses.iter().any(|one| one == address);
    let peer = status.peers.iter().find(has_address);
    match peer.and_then(|peer| peer.remote.as_deref()) {
        None => Way::Unknown,
        Some(remote) => match remote.strip_prefix("relay ") {
            None => Way::Direct(remote.to_owned()),
            Some(relay) => {
                let is_relay =
                    |peer: &&PeerStatus| peer.address == relay || peer.remote.as_deref() == Some(relay);
                let known = status.peers.iter().find(is_relay);
                Way::Relay(
                    known
                        .map_or_else(|| relay.to_owned(), |peer| format!("{} ({})", peer.name, peer.address)),
                )
            }
        },
    }
}

fn silent(shown: &str, target: &Target, folder: &Path) -> Error {
    let error = Error::new(Code::Unreachable, format!("{shown} does not answer through the overlay"));
    let status = report::last(folder).ok().flatten();
    if let Some(status) = &status
        && AgentFolder::holder(folder).is_some()
        && status.nebula_pid.is_none()
    {
        return error.hint("nebula does not run on this machine; see why: nebulactl status");
    }
    match target.last_seen_at {
        Some(at) => error.hint(format!(
            "Its agent was last heard of {}. Does nebula run here (nebulactl status)? A lighthouse that has just \
             started knows where the others are within a minute.",
            ago(at, Utc::now())
        )),
        None => error.hint("Does nebula run on both machines? nebulactl status shows it here."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, address: &str, remote: &str) -> PeerStatus {
        PeerStatus {
            name: name.into(),
            address: address.into(),
            remote: Some(remote.into()),
            ..PeerStatus::default()
        }
    }

    #[test]
    fn the_way_is_direct_or_through_a_relay_that_is_named() {
        let status = Status {
            peers: vec![
                peer("relay", "10.99.0.3", "192.0.2.3:4242"),
                peer("laptop", "10.99.0.4", "192.0.2.4:41000"),
                peer("phone", "10.99.0.5", "relay 192.0.2.3:4242"),
                peer("old", "10.99.0.6", "relay 10.99.0.3"),
                peer("other", "10.99.0.7", "relay 10.99.0.9"),
                PeerStatus {
                    addresses: vec!["10.99.0.10".into(), "fd99::10".into()],
                    ..peer("dual", "10.99.0.10", "192.0.2.9:4242")
                },
            ],
            ..Status::default()
        };
        let relay = Way::Relay("relay (10.99.0.3)".into());
        assert_eq!(way_in(&status, "10.99.0.4"), Way::Direct("192.0.2.4:41000".into()));
        assert_eq!(way_in(&status, "10.99.0.5"), relay);
        assert_eq!(way_in(&status, "10.99.0.6"), relay);
        assert_eq!(way_in(&status, "10.99.0.7"), Way::Relay("10.99.0.9".into()));
        assert_eq!(way_in(&status, "fd99::10"), Way::Direct("192.0.2.9:4242".into()));
        assert_eq!(way_in(&status, "10.99.0.8"), Way::Unknown);
    }
}
