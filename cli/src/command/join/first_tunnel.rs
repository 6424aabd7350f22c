//! `join --install` ends when the device has a tunnel, so that its success means that the overlay works.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::agent::config::Config;
use crate::agent::report::{self, PeerStatus, Status};
use crate::agent::state::{self, AgentFolder, Identity};
use crate::agent::systemd::AGENT_UNIT;
use crate::error::{Code, Error, Result};
use crate::output::clean;

/// Time from the start of the unit to the first handshake. A lighthouse that is there answers in a few
/// seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The end of the wait.
pub(super) enum Outcome {
    /// A tunnel with this device.
    Connected(PeerStatus),
    /// The configuration names no lighthouse.
    NoLighthouse,
    /// The device is a lighthouse: others connect to it, whenever they are there.
    IsLighthouse,
}

/// Waits until the agent of this folder reports a tunnel. An error says what is missing.
pub(super) async fn wait(folder: &Path, identity: &Identity) -> Result<Outcome> {
    let started = Instant::now();
    loop {
        let status = report::last(folder)?.unwrap_or_default();
        let config = state::current_config(folder)?.and_then(|text| Config::parse(&text).ok());
        let is_lighthouse = config.as_ref().is_some_and(Config::is_lighthouse);
        let lighthouses = config.as_ref().map(Config::lighthouses).unwrap_or_default();
        if status.nebula_pid.is_some() && status.counter.is_some() {
            if let Some(peer) = status.peers.first() {
                return Ok(Outcome::Connected(peer.clone()));
            } else if is_lighthouse {
                return Ok(Outcome::IsLighthouse);
            } else if lighthouses.is_empty() {
                return Ok(Outcome::NoLighthouse);
            }
        }
        if started.elapsed() > TIMEOUT {
            return Err(missing(folder, identity, &status, &lighthouses));
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// The device has joined, and the unit goes on trying; the error names the step that does not succeed.
fn missing(folder: &Path, identity: &Identity, status: &Status, lighthouses: &[String]) -> Error {
    let name = clean(&identity.host.name);
    let wrong = |why: String| Error::new(Code::Unreachable, format!("{name} has joined, but {why}"));
    let journal =
        format!("See why: journalctl --unit {AGENT_UNIT}. The agent keeps trying: nebulactl status");
    if AgentFolder::holder(folder).is_none() {
        return wrong("its agent does not run".to_owned()).hint(journal);
    }
    if let Some(refused) = &status.refused {
        return wrong(format!("nebula refuses its configuration: {}", clean(&refused.reason))).hint(journal);
    }
    if status.nebula_pid.is_none() {
        return wrong("nebula does not start".to_owned()).hint(journal);
    }
    wrong(format!("no lighthouse has answered in {} s", TIMEOUT.as_secs())).hint(format!(
        "Can this machine reach {} by UDP, and does nebula run there? The agent keeps trying: nebulactl status",
        if lighthouses.is_empty() { "the lighthouse".to_owned() } else { clean(&lighthouses.join(", ")) }
    ))
}
