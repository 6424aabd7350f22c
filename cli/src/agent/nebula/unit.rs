//! A nebula that systemd runs: the agent only tells it when there is something new.

use std::process::Stdio;

use tokio::process::Command;

use super::process::Process;
use crate::error::{Code, Doing, Error, Result};

/// A unit whose nebula reads `current/nebula.yml` of the agent's folder.
#[derive(Debug)]
pub(crate) struct Unit {
    name: String,
}

impl Unit {
    /// The unit of that name.
    pub(crate) fn new(name: String) -> Self {
        Self { name }
    }

    /// The process it runs as; none while it does not.
    ///
    /// # Errors
    /// `wrong_state` in the words of systemctl; `io_error` when there is none.
    pub(crate) async fn process(&self) -> Result<Option<Process>> {
        let answer = systemctl(&["show", "--property", "MainPID", "--value", &self.name]).await?;
        let pid = answer.trim().parse().ok().filter(|pid| *pid != 0);
        Ok(pid.and_then(|pid| Process::adopt(pid, None)))
    }

    /// `reload` or `restart`; a unit that does not run is started by either.
    ///
    /// # Errors
    /// `wrong_state` in the words of systemctl.
    pub(crate) async fn act(&self, verb: &str) -> Result<()> {
        let verb = if verb == "reload" { "reload-or-restart" } else { verb };
        systemctl(&[verb, &self.name]).await.map(drop)
    }
}

/// Runs systemctl; its answer.
///
/// # Errors
/// `wrong_state` in its words; `io_error` when there is none.
pub(crate) async fn systemctl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output().await;
    let output = output.doing(|| "run systemctl".to_owned())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(Code::WrongState, format!("systemctl {} failed: {}", arguments.join(" "), words.trim()))
        .hint("See why: journalctl --unit with the name of the unit"))
}
