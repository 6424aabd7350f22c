//! Systemd: units that run nebula, and the unit that runs the agent.

use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::process::Command;
use which::which;

use super::process::Process;
use crate::atomic_file::{self, PUBLIC};
use crate::error::{Code, Doing, Error, Result};

/// Name of the unit that `join --install` writes.
pub(crate) const AGENT_UNIT: &str = "nebula-agent.service";
/// Lines of the journal that are read at once at most, the last ones: nebula may have run for a year.
const MAX_LINES: &str = "--lines=20000";
/// Stands before the cursor in the last line of journalctl.
const CURSOR: &str = "-- cursor: ";
const AGENT_UNIT_TEXT: &str = include_str!("../../../docker/units/nebula-agent.service");

/// A unit that runs nebula with `current/nebula.yml` of the agent's folder.
#[derive(Debug)]
pub(crate) struct Unit {
    name: String,
    /// Where its journal was last read to.
    place: Place,
}

/// A place in the journal.
#[derive(Debug)]
enum Place {
    /// Behind everything before this time, which journalctl takes with fractions.
    Since(SystemTime),
    After(String),
}

impl Unit {
    pub(crate) fn new(name: String) -> Self {
        Self { name, place: Place::Since(SystemTime::now()) }
    }

    /// The command that shows what the unit says.
    pub(crate) fn journal(&self) -> String {
        format!("journalctl --unit {}", self.name)
    }

    /// From now on [`Self::words`] begins with what the unit says from this time.
    pub(crate) fn listen_since(&mut self, time: SystemTime) {
        self.place = Place::Since(time);
    }

    /// The lines that the unit has written to the journal since the last call. Empty where the journal cannot be
    /// read, or where the unit logs elsewhere.
    pub(crate) async fn words(&mut self) -> String {
        let place = match &self.place {
            Place::Since(time) => {
                let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                format!("--since=@{}.{:06}", since.as_secs(), since.subsec_micros())
            }
            Place::After(cursor) => format!("--after-cursor={cursor}"),
        };
        let unit = format!("--unit={}", self.name);
        let arguments = ["--quiet", "--no-pager", "--output=cat", "--show-cursor", MAX_LINES, &unit, &place];
        let output = Command::new("journalctl").args(arguments).stdin(Stdio::null()).output().await;
        let said =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let Some((words, cursor)) = said.trim_end().rsplit_once(CURSOR) else { return said };
        self.place = Place::After(cursor.to_owned());
        words.to_owned()
    }

    /// The main process of the unit, if it runs.
    pub(crate) async fn process(&self) -> Result<Option<Process>> {
        let answer = systemctl(&["show", "--property", "MainPID", "--value", &self.name]).await?;
        let pid = answer.trim().parse().ok().filter(|pid| *pid != 0);
        Ok(pid.and_then(|pid| Process::adopt(pid, None)))
    }

    /// `reload`, `restart`, which both start a unit that does not run, or `stop`.
    pub(crate) async fn act(&self, verb: &str) -> Result<()> {
        let verb = if verb == "reload" { "reload-or-restart" } else { verb };
        systemctl(&[verb, &self.name]).await.map(drop)
    }
}

/// Runs systemctl and returns its output.
pub(crate) async fn systemctl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output().await;
    let output = output.doing(|| "run systemctl".to_owned())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(Code::WrongState, format!("systemctl {} failed: {}", arguments.join(" "), stderr.trim()))
        .hint("See why: journalctl --unit with the name of the unit"))
}

/// Whether [`install_agent`] can succeed; an error names what is missing.
pub(crate) fn check_installable() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::new(Code::WrongState, "only root may write a unit of systemd")
            .hint("Run the same command with sudo."));
    }
    if !Path::new("/run/systemd/system").exists() {
        return Err(Error::new(Code::WrongState, "systemd does not run on this machine")
            .hint("Join without --install, and have nebulactl agent started at boot."));
    }
    which("nebula").map(drop).map_err(|_| {
        Error::new(Code::NotFound, "nebula is not on PATH").hint(
            "Install it, then run the same command again: apt install nebula, or \
             https://github.com/slackhq/nebula/releases",
        )
    })
}

/// Writes and starts the unit of the agent in this folder.
pub(crate) async fn install_agent(folder: &Path) -> Result<()> {
    let program = std::env::current_exe().doing(|| "find this program".to_owned())?;
    let text = agent_unit(&program, folder)?;
    let unit = Path::new("/etc/systemd/system").join(AGENT_UNIT);
    let is_same = atomic_file::read_if_exists(&unit)?.is_some_and(|present| present == text);
    if is_same && runs(&program).await? {
        return systemctl(&["enable", AGENT_UNIT]).await.map(drop);
    }
    atomic_file::write_atomic(&unit, text.as_bytes(), PUBLIC)?;
    systemctl(&["daemon-reload"]).await?;
    systemctl(&["enable", AGENT_UNIT]).await?;
    // An agent of another nebulactl gives way to this one.
    systemctl(&["restart", AGENT_UNIT]).await.map(drop)
}

/// Whether the unit runs this very file: one that was replaced meanwhile has no path any more.
async fn runs(program: &Path) -> Result<bool> {
    let pid = systemctl(&["show", "--property", "MainPID", "--value", AGENT_UNIT]).await?;
    let running = std::fs::read_link(Path::new("/proc").join(pid.trim()).join("exe"));
    Ok(running.is_ok_and(|running| running == program))
}

/// Text of the unit.
fn agent_unit(program: &Path, folder: &Path) -> Result<String> {
    Ok(AGENT_UNIT_TEXT.replace("{program}", &quoted(program)?).replace("{folder}", &quoted(folder)?))
}

/// A path as systemd reads it, which also expands `%`.
fn quoted(path: &Path) -> Result<String> {
    let text = path.display().to_string();
    if text.contains(['"', '\\', '\n', '$']) {
        return Err(Error::new(Code::InvalidArgument, format!("{text} cannot stand in a unit of systemd"))
            .hint("Choose another folder with --dir."));
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

/// Whether this text is that of the unit of the agent in this folder.
pub(crate) fn is_unit_of(text: &str, folder: &Path) -> bool {
    quoted(folder).is_ok_and(|folder| text.contains(&format!("--dir {folder}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_program_and_folder() {
        let text = agent_unit(Path::new("/usr/bin/nebulactl"), Path::new("/etc/50% nebula")).unwrap();
        assert!(
            text.contains(
                "ExecStart=\"/usr/bin/nebulactl\" agent --dir \"/etc/50%% nebula\" $NEBULA_AGENT_OPTIONS\n"
            ),
            "{text}"
        );
        assert!(!text.contains('{'), "{text}");
        assert!(
            is_unit_of(&text, Path::new("/etc/50% nebula")) && !is_unit_of(&text, Path::new("/etc/50% neb"))
        );
        assert!(agent_unit(Path::new("/usr/bin/nebulactl"), Path::new("/etc/a\"b")).is_err());
    }
}
