//! Syncthing, told over its REST interface to speak with the devices of the project, over the overlay and no other way.

use std::net::{IpAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nebula_api::agent::{FolderReport, Instruction, SyncthingReport};
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::nebula::process::Process;
use super::run::{LONGEST, SHORTEST};
use super::say;
use crate::disk;
use crate::error::{Doing, Error, Result};
use rest::{Facts, Rest};
use tuned::Tuned;

mod home;
mod rest;
mod tuned;
mod wish;

/// How Syncthing may take its time to end.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often what it is told is compared with what it does.
const COMPARE: Duration = Duration::from_secs(10);
/// The option by which a child of ours is known again.
const HOME: &str = "--home";

/// What an agent is to do about Syncthing.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Starts this one as a child.
    pub(crate) program: Option<PathBuf>,
    /// Its home.
    pub(crate) home: Option<PathBuf>,
    /// The folder that is shared.
    pub(crate) share: Option<PathBuf>,
}

/// The Syncthing of this device.
pub(crate) struct Syncthing {
    /// None: somebody else starts it.
    program: Option<PathBuf>,
    home: PathBuf,
    share: PathBuf,
    process: Option<Process>,
    rest: Option<Rest>,
    /// What it was last found to do, and when.
    told: Option<(Instruction, Instant)>,
    looked_at: Instant,
    tuned: Tuned,
    report: Option<SyncthingReport>,
    /// Bytes that had come in, to tell the rate by.
    received: Option<(u64, Instant)>,
    trouble: Option<String>,
    backoff: Backoff,
    start_at: Instant,
}

impl Syncthing {
    /// Nothing is started or made yet.
    ///
    /// # Errors
    /// `io_error`.
    pub(crate) fn new(options: Options, folder: &Path) -> Result<Self> {
        let absolute = |path: Option<PathBuf>, name: &str| {
            let path = path.unwrap_or_else(|| folder.join(name));
            std::path::absolute(&path).doing(|| format!("find {}", path.display()))
        };
        Ok(Self {
            program: options.program,
            home: absolute(options.home, "syncthing")?,
            share: absolute(options.share, "shared")?,
            process: None,
            rest: None,
            told: None,
            looked_at: Instant::now(),
            tuned: Tuned::open(folder),
            report: None,
            received: None,
            trouble: None,
            backoff: Backoff::new(SHORTEST, LONGEST),
            start_at: Instant::now(),
        })
    }

    /// What it last said of itself.
    pub(crate) fn report(&self) -> Option<&SyncthingReport> {
        self.report.as_ref()
    }

    /// Sees to it that it runs, does what it should, and is known; whether there is news for the gateway.
    pub(crate) async fn tend(&mut self, overlay: &str, instruction: Option<&Instruction>) -> bool {
        let before = self.report.clone();
        match self.attend(overlay, instruction).await {
            Ok(()) => self.trouble = None,
            Err(error) => {
                self.report = None;
                let text = error.to_string();
                if self.trouble.replace(text.clone()) != Some(text) {
                    say(&format!("Syncthing: {error}"));
                }
            }
        }
        let shape = |report: &Option<SyncthingReport>| {
            report.as_ref().map(|report| {
                let states =
                    report.folders.iter().map(|folder| (folder.state.clone(), folder.missing_bytes == 0));
                (report.id.clone(), states.collect::<Vec<_>>())
            })
        };
        shape(&before) != shape(&self.report)
    }

    async fn attend(&mut self, overlay: &str, instruction: Option<&Instruction>) -> Result<()> {
        if self.program.is_some() && !self.is_up(overlay)? {
            return Ok(());
        }
        if self.rest.is_none() {
            self.rest = Some(Rest::new(&home::access(&self.home)?)?);
        }
        let is_told = match (&self.told, instruction) {
            (Some((told, _)), Some(wanted)) => is_same(told, wanted),
            (told, wanted) => told.is_none() && wanted.is_none(),
        };
        // While nothing moves it is asked less often: the state of a large folder costs it something.
        if is_told && self.is_idle() && self.looked_at.elapsed() < COMPARE {
            return Ok(());
        }
        self.looked_at = Instant::now();
        let Some(rest) = &self.rest else { return Ok(()) };
        let facts = match rest.facts().await {
            Ok(facts) => facts,
            Err(error) => {
                // Its address or key may have changed with its configuration.
                self.rest = None;
                // A child that has just begun needs a moment.
                return if self.process.is_some() && self.report.is_none() { Ok(()) } else { Err(error) };
            }
        };
        self.backoff.reset();
        let due = !is_told || self.told.as_ref().is_none_or(|(_, at)| at.elapsed() > COMPARE);
        if due {
            rest.confine(overlay).await?;
            if let Some(instruction) = instruction {
                disk::private_folder(&self.share)?;
                rest.share(&facts.id, instruction, &self.share, &mut self.tuned).await?;
                self.told = Some((instruction.clone(), Instant::now()));
            }
        }
        let folder = match instruction {
            Some(instruction) => rest.folder(&instruction.folder_id).await?,
            None => None,
        };
        let rate = self.rate(&facts);
        self.report = Some(SyncthingReport {
            id: facts.id,
            version: facts.version,
            folders: folder.into_iter().map(|folder| FolderReport { rate, ..folder }).collect(),
        });
        Ok(())
    }

    /// Whether our child runs; it is started once the overlay is there, because it listens nowhere else.
    fn is_up(&mut self, overlay: &str) -> Result<bool> {
        if self.process.as_mut().is_some_and(Process::has_ended) {
            say("Syncthing has ended");
            self.process = None;
            self.rest = None;
            self.report = None;
            self.start_at = Instant::now() + self.backoff.pause();
        }
        if self.process.is_none() {
            self.process = Process::find(HOME, &self.home);
        }
        if self.process.is_some() {
            return Ok(true);
        }
        if Instant::now() < self.start_at || !is_here(overlay) {
            return Ok(false);
        }
        self.start(overlay)?;
        Ok(true)
    }

    fn start(&mut self, overlay: &str) -> Result<()> {
        let Some(program) = &self.program else { return Ok(()) };
        home::prepare(&self.home, overlay)?;
        let mut command = Command::new(program);
        command.args(["serve", HOME]).arg(&self.home);
        command.args(["--no-browser", "--no-default-folder", "--no-upgrade", "--logfile"]);
        command
            .arg(self.home.join("syncthing.log"))
            .args(["--log-max-size=4194304", "--log-max-old-files=1"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().doing(|| format!("start {}", program.display()))?;
        self.process = Some(Process::of_child(child)?);
        say("Syncthing is started");
        Ok(())
    }

    fn is_idle(&self) -> bool {
        let settled = |folder: &FolderReport| folder.state == "idle" && folder.missing_bytes == 0;
        self.report
            .as_ref()
            .is_some_and(|report| !report.folders.is_empty() && report.folders.iter().all(settled))
    }

    fn rate(&mut self, facts: &Facts) -> f64 {
        let now = Instant::now();
        let before = self.received.replace((facts.received, now));
        before.map_or(0.0, |(bytes, at)| {
            facts.received.saturating_sub(bytes) as f64 / (now - at).as_secs_f64().max(0.001)
        })
    }

    /// Ends our child; one of somebody else goes on.
    ///
    /// # Errors
    /// `io_error`.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        // It keeps a second process, which only it can end in order.
        let asked = match &self.rest {
            Some(rest) => rest.shut_down().await,
            None => Ok(()),
        };
        if asked.is_ok() && self.rest.is_some() && timeout(FAREWELL, process.ended()).await.is_ok() {
            return Ok(());
        }
        process.stop(FAREWELL).await
    }
}

/// Whether two instructions ask for the same.
fn is_same(one: &Instruction, other: &Instruction) -> bool {
    let wish = |of: &Instruction| {
        (of.folder_id.clone(), of.folder_label.clone(), of.syncthing.clone(), of.options.clone())
    };
    wish(one) == wish(other)
}

/// Whether an address is one of this machine's.
fn is_here(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok_and(|address| UdpSocket::bind((address, 0)).is_ok())
}

/// What Syncthing says, or does not.
fn unusable(why: impl Into<String>) -> Error {
    Error::new(crate::error::Code::Protocol, why)
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_of_this_machine() {
        assert!(super::is_here("127.0.0.1"));
        assert!(!super::is_here("192.0.2.77") && !super::is_here("nowhere"));
    }
}
