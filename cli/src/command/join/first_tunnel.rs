//! `join --install` ends when the device has a tunnel, so that its success means that the overlay works.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::agent::config::Config;
use crate::agent::process::Process;
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
        let status = report::last(folder)?.filter(|status| is_present(folder, status)).unwrap_or_default();
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

/// Whether the nebula of the report runs. The file outlives a crash and a power cut, so it may be about one
/// that is gone.
fn is_present(folder: &Path, status: &Status) -> bool {
    let config = state::current_config_path(folder);
    let runs = |pid| Process::adopt(pid, None).is_some_and(|one| one.has_option("-config", &config));
    AgentFolder::holder(folder).is_some() && status.nebula_pid.is_none_or(runs)
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_report_of_a_nebula_that_is_gone_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let _agent = AgentFolder::open(folder.path()).unwrap();
        let of = |nebula_pid| Status { nebula_pid, ..Status::default() };
        assert!(is_present(folder.path(), &of(None)));
        // This process has the pid by chance; it is no nebula of the folder.
        assert!(!is_present(folder.path(), &of(Some(std::process::id()))));
        let config = state::current_config_path(folder.path());
        let mut nebula = Command::new("sh");
        nebula.args(["-c", "echo ready; read end", "-config"]).arg(config);
        let mut nebula = nebula.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // The kernel shows the command line a moment after the process exists.
        let mut line = String::new();
        BufReader::new(nebula.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(is_present(folder.path(), &of(Some(nebula.id()))));
        nebula.kill().unwrap();
        nebula.wait().unwrap();
        assert!(!is_present(folder.path(), &of(Some(nebula.id()))));
    }
}
