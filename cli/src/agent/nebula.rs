//! nebula on this machine: a child that outlives its agent, or a unit of systemd.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::process::Process;
use super::state::{self, Folder};
use super::systemd::Unit;
use crate::atomic_file::{self, PRIVATE};
use crate::error::{Code, Doing, Error, Result};
use config::Release;
use log::{Event, Log};

pub(crate) mod config;
mod log;

const RECORD: &str = "nebula.json";
const LOG: &str = "nebula.log";
/// The option by which a child of ours is known again.
const CONFIG: &str = "-config";
/// How long nebula may take to come up, or to say that it has read its files again.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to end before it is made to.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What is known of the process that runs, so that another agent can take it over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    pid: u32,
    /// In ticks since the machine started: a number that is used again has another.
    started: u64,
    /// Generation it is known to run; a reload that it has not confirmed yet does not count.
    counter: u64,
    since: DateTime<Utc>,
}

/// The daemon of this device.
pub(crate) struct Nebula {
    program: PathBuf,
    version: String,
    release: Release,
    config: PathBuf,
    record: PathBuf,
    log: Log,
    /// Starts it, instead of us.
    unit: Option<Unit>,
    running: Option<(Process, Record)>,
}

impl Nebula {
    /// The program at this path, for the device in this folder.
    ///
    /// # Errors
    /// `io_error` when it cannot be run.
    pub(crate) fn new(program: &Path, folder: &Folder, unit: Option<String>) -> Result<Self> {
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
        })
    }

    /// As it calls itself.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The same, to compare.
    pub(crate) fn release(&self) -> Release {
        self.release
    }

    /// Whether the agent starts it itself.
    pub(crate) fn is_child(&self) -> bool {
        self.unit.is_none()
    }

    /// Since when it runs.
    pub(crate) fn since(&self) -> Option<DateTime<Utc>> {
        self.running.as_ref().map(|(_, record)| record.since)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|(_, record)| record.pid)
    }

    /// The tunnels its log tells of.
    pub(crate) fn log(&mut self) -> &Log {
        self.log.read();
        &self.log
    }

    /// Whether nebula would take this configuration; the reason why not.
    ///
    /// # Errors
    /// `io_error` when it cannot be run.
    pub(crate) async fn test(&self, config: &Path) -> Result<Option<String>> {
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("-test").arg("-config").arg(config).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.doing(|| format!("run {}", self.program.display()))?;
        if output.status.success() {
            return Ok(None);
        }
        let text = [output.stdout, output.stderr].concat();
        let reason = log::last_error(&String::from_utf8_lossy(&text));
        Ok(Some(reason.unwrap_or_else(|| format!("nebula -test ended with {}", output.status))))
    }

    /// Finds a nebula that an earlier agent, or a unit, has running; the generation it runs, when that is certain.
    ///
    /// # Errors
    /// `io_error`; for a unit what systemctl says.
    pub(crate) async fn adopt(&mut self) -> Result<Option<u64>> {
        // A damaged record only means that the process must be looked for.
        let known: Option<Record> = state::read(&self.record).unwrap_or_default();
        let recorded =
            known.and_then(|record| Some((Process::adopt(record.pid, Some(record.started))?, record)));
        self.running =
            recorded.filter(|(process, _)| self.unit.is_some() || process.has_option(CONFIG, &self.config));
        if let (None, None) = (&self.running, &self.unit)
            // Its agent may have died before it could write the record: nobody knows what it runs.
            && let Some(mut stray) = Process::find(CONFIG, &self.config)
        {
            stray.stop(STOP_TIMEOUT).await?;
        }
        Ok(self.running.as_ref().map(|(_, record)| record.counter))
    }

    /// Starts it, or starts it anew, and waits until it is up.
    ///
    /// # Errors
    /// `wrong_state` with its own words when it ends at once; `io_error`.
    pub(crate) async fn restart(&mut self, counter: u64) -> Result<()> {
        if let Some(unit) = &self.unit {
            unit.act("restart").await?;
            return self.follow_unit(counter).await;
        }
        self.stop().await?;
        self.log.reset();
        let output = OpenOptions::new().create(true).append(true).mode(PRIVATE).open(self.log.path());
        let output = output.doing(|| format!("open {}", self.log.path().display()))?;
        let errors = output.try_clone().doing(|| format!("open {}", self.log.path().display()))?;
        let mut command = Command::new(&self.program);
        command.arg(CONFIG).arg(&self.config).stdin(Stdio::null()).stdout(output).stderr(errors);
        // Signals from the terminal are for the agent, which then ends it in order.
        command.process_group(0);
        let child = command.spawn().doing(|| format!("start {}", self.program.display()))?;
        self.set_running(Process::of_child(child)?, counter, Utc::now())?;
        self.wait_until_up().await
    }

    async fn wait_until_up(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut last_error = None;
        while started.elapsed() < START_TIMEOUT {
            for event in self.log.read() {
                match event {
                    Event::Up => return Ok(()),
                    Event::Error(text) => last_error = Some(text),
                    Event::Reloaded => {}
                }
            }
            if !self.is_running() {
                let why = last_error.unwrap_or_else(|| "it gives no reason".to_owned());
                return Err(Error::new(Code::WrongState, format!("nebula ended when it was started: {why}"))
                    .hint(format!("Its log is {}", self.log.path().display())));
            }
            sleep(POLL_INTERVAL).await;
        }
        // It runs, only its words are not what we know: a release to come.
        Ok(())
    }

    /// Lets it read its files again, and waits until it has.
    ///
    /// # Errors
    /// `wrong_state` when it does not say that it took them, so that a restart is due; `io_error`.
    pub(crate) async fn reload(&mut self, counter: u64) -> Result<()> {
        if let Some(unit) = &self.unit {
            unit.act("reload").await?;
            return self.follow_unit(counter).await;
        }
        let Some((process, _)) = &self.running else {
            return Err(Error::new(Code::WrongState, "nebula does not run"));
        };
        self.log.read();
        process.signal(Signal::HUP)?;
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT && self.is_running() {
            for event in self.log.read() {
                match event {
                    Event::Reloaded => return self.save_record(counter),
                    Event::Error(text) => {
                        return Err(Error::new(Code::WrongState, format!("nebula does not reload: {text}")));
                    }
                    Event::Up => {}
                }
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(Error::new(Code::WrongState, "nebula did not say that it has reloaded"))
    }

    /// A unit logs elsewhere: that its process is there is all that can be seen.
    async fn follow_unit(&mut self, counter: u64) -> Result<()> {
        let Some(unit) = &self.unit else { return Ok(()) };
        let found = unit.process().await?;
        let process = found
            .ok_or_else(|| Error::new(Code::WrongState, "the unit has no process; does it start nebula?"))?;
        let known = self.running.take().filter(|(known, _)| known.started() == process.started());
        let since = known.map_or_else(Utc::now, |(_, record)| record.since);
        self.set_running(process, counter, since)
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        if self.running.as_mut().is_some_and(|(process, _)| process.has_ended()) {
            self.running = None;
        }
        self.running.is_some()
    }

    /// Waits for its end; for ever while there is none to wait for.
    pub(crate) async fn ended(&mut self) {
        match &mut self.running {
            Some((process, _)) => process.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Ends our child; a unit goes on without us.
    ///
    /// # Errors
    /// `io_error`.
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
        let record = Record { pid: process.pid(), started: process.started(), counter, since };
        self.running = Some((process, record));
        self.save_record(counter)
    }

    /// Keeps what it runs.
    fn save_record(&mut self, counter: u64) -> Result<()> {
        let Some((_, record)) = &mut self.running else { return Ok(()) };
        record.counter = counter;
        let text = serde_json::to_vec(record).map_err(std::io::Error::from);
        atomic_file::write_atomic(&self.record, &text.doing(|| "write what nebula runs".to_owned())?, PRIVATE)
    }
}

/// What a nebula calls itself.
///
/// # Errors
/// `io_error` when it cannot be run.
pub(crate) fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("-version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| {
        Error::new(Code::Io, format!("cannot run {}: {error}", program.display()))
            .hint("Install nebula: apt install nebula, or https://github.com/slackhq/nebula/releases")
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim().trim_start_matches("Version: ").to_owned())
}
