//! The nebula daemon on this machine: a child process that outlives its agent, or a systemd unit.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::change::Release;
use super::journal::log;
use super::process::Process;
use super::state::{self, AgentFolder};
use super::systemd::Unit;
use crate::atomic_file::{self, PRIVATE};
use crate::error::{Code, Doing, Error, Result};
use log::Log;

pub(crate) mod failure;
mod lan;
mod log;
pub(crate) mod machine;
pub(crate) mod route_watch;
mod takeover;

const RECORD: &str = "nebula.json";
const LOG: &str = "nebula.log";
/// Option by which a nebula of this device is found in the process list.
const CONFIG: &str = "-config";
/// Time nebula may take to end before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Time `nebula -test` may take; 1.6 waits in it for the resolver. Shorter than `leave` waits for the agent.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The running process, saved so that the next agent can adopt it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    pid: u32,
    /// Start time in clock ticks since boot; tells the process from a later one with the same pid.
    started: u64,
    /// Counter of the configuration that nebula is known to run; set after a reload is confirmed.
    counter: u64,
    since: DateTime<Utc>,
    /// Of the program that was started; a record of an older agent has none.
    #[serde(default)]
    version: Option<String>,
}

/// The daemon of one device.
pub(crate) struct Nebula {
    program: PathBuf,
    version: String,
    release: Release,
    config: PathBuf,
    record: PathBuf,
    log: Log,
    /// Starts nebula instead of the agent.
    unit: Option<Unit>,
    running: Option<(Process, Record)>,
    /// When the journal of the unit was read.
    read_at: Option<Instant>,
}

impl Nebula {
    /// For the program at this path and the device in this folder.
    pub(crate) fn new(program: &Path, folder: &AgentFolder, unit: Option<String>) -> Result<Self> {
        let version = version(program)?;
        let release = Release::parse(&version).unwrap_or(Release(0, 0));
        Ok(Self {
            program: program.to_owned(),
            version,
            release,
            config: folder.config_path(),
            record: folder.file(RECORD),
            log: Log::new(folder.file(LOG)),
            unit: unit.map(Unit::new),
            running: None,
            read_at: None,
        })
    }

    /// As `nebula -version` prints it.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The version in comparable form.
    pub(crate) fn release(&self) -> Release {
        self.release
    }

    /// Whether the agent starts nebula itself.
    pub(crate) fn is_child(&self) -> bool {
        self.unit.is_none()
    }

    /// Start time of the running nebula.
    pub(crate) fn since(&self) -> Option<DateTime<Utc>> {
        self.running.as_ref().map(|(_, record)| record.since)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|(_, record)| record.pid)
    }

    /// The log as far as it was read: a file up to its end, the journal of a unit by [`Self::follow_journal`].
    pub(crate) fn log(&mut self) -> &Log {
        if self.unit.is_none() {
            self.log.read();
        }
        &self.log
    }

    /// Runs `nebula -test`; returns the reason if nebula rejects the configuration.
    pub(crate) async fn test(&self, config: &Path) -> Result<Option<String>> {
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("-test").arg("-config").arg(config).stdin(Stdio::null()).kill_on_drop(true);
        let Ok(output) = timeout(TEST_TIMEOUT, command.output()).await else {
            return Ok(Some(format!("nebula -test did not end within {} s", TEST_TIMEOUT.as_secs())));
        };
        let output = output.doing(|| format!("run {}", self.program.display()))?;
        if output.status.success() {
            return Ok(None);
        }
        let text = [output.stdout, output.stderr].concat();
        let reason = log::last_error(&String::from_utf8_lossy(&text));
        Ok(Some(reason.unwrap_or_else(|| format!("nebula -test ended with {}", output.status))))
    }

    /// Finds a nebula that an earlier agent or a unit has started; returns the counter of its configuration
    /// if that is certain, and it is of the release that is installed now. One of another release is ended, so
    /// that the caller starts the installed one.
    pub(crate) async fn adopt(&mut self) -> Result<Option<u64>> {
        // A record that cannot be read is treated like a missing one.
        let known: Option<Record> = state::read(&self.record).unwrap_or_default();
        let recorded =
            known.and_then(|record| Some((Process::adopt(record.pid, Some(record.started))?, record)));
        self.running =
            recorded.filter(|(process, _)| self.unit.is_some() || process.has_option(CONFIG, &self.config));
        if let (None, None) = (&self.running, &self.unit)
            // The agent that started this process died before it saved the record, so its configuration is
            // unknown.
            && let Some(mut stray) = Process::find(CONFIG, &self.config)
        {
            stray.stop(STOP_TIMEOUT).await?;
        }
        if let (Some(unit), Some((_, record))) = (&mut self.unit, &self.running) {
            // Tunnels that were made before this agent began.
            unit.listen_since(record.since.into());
        }
        let ran = self.running.as_ref().and_then(|(_, record)| record.version.clone());
        if let Some(ran) = ran.filter(|version| *version != self.version) {
            log(&format!("nebula {ran} is replaced by {}, which is installed now", self.version));
            self.stop().await?;
            // A process of a unit runs on until the unit is restarted.
            self.running = None;
        }
        Ok(self.running.as_ref().map(|(_, record)| record.counter))
    }

    /// Starts or restarts nebula and waits until it is up.
    pub(crate) async fn restart(&mut self, counter: u64) -> Result<()> {
        if let Some(unit) = &mut self.unit {
            let started = Utc::now();
            unit.listen_since(started.into());
            unit.act("restart").await?;
            self.follow_unit(counter, started).await?;
            return self.wait_until_up().await;
        }
        self.stop().await?;
        self.log.reset();
        let output = OpenOptions::new().create(true).append(true).mode(PRIVATE).open(self.log.path());
        let output = output.doing(|| format!("open {}", self.log.path().display()))?;
        let errors = output.try_clone().doing(|| format!("open {}", self.log.path().display()))?;
        let mut command = Command::new(&self.program);
        command.arg(CONFIG).arg(&self.config).stdin(Stdio::null()).stdout(output).stderr(errors);
        // A process group of its own: signals from the terminal reach only the agent, which then stops nebula
        // in order.
        command.process_group(0);
        let child = command.spawn().doing(|| format!("start {}", self.program.display()))?;
        self.set_running(Process::of_child(child)?, counter, Utc::now())?;
        self.wait_until_up().await
    }

    /// Takes the process that the service manager has started, if it is another one at this time.
    async fn follow_unit(&mut self, counter: u64, started: DateTime<Utc>) -> Result<()> {
        let Some(unit) = &self.unit else { return Ok(()) };
        let found = unit.process().await?;
        let process = found
            .ok_or_else(|| Error::new(Code::WrongState, "the unit has no process; does it start nebula?"))?;
        let known = self.running.take().filter(|(known, _)| known.started() == process.started());
        let since = known.map_or(started, |(_, record)| record.since);
        self.set_running(process, counter, since)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        if self.running.as_mut().is_some_and(|(process, _)| process.has_ended()) {
            self.running = None;
        }
        self.running.is_some()
    }

    /// Waits until nebula ends; for ever when it does not run.
    pub(crate) async fn ended(&mut self) {
        match &mut self.running {
            Some((process, _)) => process.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Stops nebula, also one of a unit, because it takes a network of this machine away.
    pub(crate) async fn withdraw(&mut self) -> Result<()> {
        if let Some(unit) = &self.unit {
            self.running = None;
            return unit.act("stop").await;
        }
        self.stop().await
    }

    /// Stops the child process. A unit keeps running.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        if self.unit.is_some() {
            return Ok(());
        }
        if let Some((mut process, _)) = self.running.take() {
            process.stop(STOP_TIMEOUT).await?;
        }
        atomic_file::remove_if_exists(&self.record)
    }

    fn set_running(&mut self, process: Process, counter: u64, since: DateTime<Utc>) -> Result<()> {
        let (pid, started) = (process.pid(), process.started());
        let record = Record { pid, started, counter, since, version: Some(self.version.clone()) };
        self.running = Some((process, record));
        self.save_record(counter)
    }

    /// Saves the record with this counter.
    fn save_record(&mut self, counter: u64) -> Result<()> {
        let Some((_, record)) = &mut self.running else { return Ok(()) };
        record.counter = counter;
        let text = serde_json::to_vec(record).map_err(std::io::Error::from);
        atomic_file::write_atomic(&self.record, &text.doing(|| "write what nebula runs".to_owned())?, PRIVATE)
    }
}

/// Version of a nebula program.
pub(crate) fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("-version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| {
        Error::new(Code::Io, format!("cannot run {}: {error}", program.display()))
            .hint("Install nebula: apt install nebula, or https://github.com/slackhq/nebula/releases")
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim().trim_start_matches("Version: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that prints this version, and runs as long as its pipe has no writer.
    fn install(program: &Path, version: &str) {
        let text = format!("#!/bin/sh\n[ $1 = -version ] && echo Version: {version} && exit\n");
        let text = text + "mkfifo \"$2.pipe\"; exec sh -c 'read line <\"$2.pipe\"' nebula -config \"$2\"\n";
        atomic_file::write_atomic(program, text.as_bytes(), 0o700).unwrap();
    }

    #[tokio::test]
    async fn a_running_nebula_is_adopted_unless_another_release_is_installed() {
        let parent = tempfile::tempdir().unwrap();
        let program = parent.path().join("nebula");
        install(&program, "1.6.1");
        let folder = AgentFolder::open(&parent.path().join("agent")).unwrap();
        let config = folder.config_path();
        std::fs::create_dir_all(config.parent().unwrap()).unwrap();

        let mut first = Nebula::new(&program, &folder, None).unwrap();
        let mut command = Command::new(&program);
        command.arg(CONFIG).arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        first.set_running(Process::of_child(child).unwrap(), 7, Utc::now()).unwrap();
        let mut second = Nebula::new(&program, &folder, None).unwrap();
        assert_eq!(second.adopt().await.unwrap(), Some(7));

        install(&program, "1.11.0");
        let mut third = Nebula::new(&program, &folder, None).unwrap();
        assert_eq!(third.adopt().await.unwrap(), None);
        assert!(!first.is_running(), "nebula of the release before still runs");
    }
}
