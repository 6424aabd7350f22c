//! Configures Syncthing over its REST interface: it shares the project's folder with the project's devices,
//! over the overlay only.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff};
use nebula_api::agent::{FolderReport, Instruction, SyncthingReport};
use tokio::time::{Instant, timeout};

use super::backoff::{RETRY, next_delay};
use super::journal::log;
use super::process::Process;
use crate::atomic_file::{self, PRIVATE};
use crate::error::{Doing, Result};
use applied_options::AppliedOptions;
use rest::{Rest, SystemStatus};

mod applied_options;
mod desired_config;
mod error;
mod home_dir;
mod rest;

/// Time Syncthing may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval of comparing Syncthing's configuration with the desired one.
const COMPARE_INTERVAL: Duration = Duration::from_secs(10);
/// Log of the child, in Syncthing's home folder.
const LOG: &str = "syncthing.log";
/// Standard error of the child, in Syncthing's home folder.
const ERRORS: &str = "syncthing.err";
/// Bytes at the end of it in which its last line is searched.
const MAX_LAST_LINE: u64 = 4096;
/// Option by which a Syncthing of this device is found in the process list.
const HOME_OPTION: &str = "--home";

/// Program and folders of a Syncthing.
#[derive(Clone, Debug)]
pub(crate) struct SyncthingSetup {
    /// Program to start as a child; `None` if another service manager runs Syncthing.
    pub(crate) program: Option<PathBuf>,
    /// Syncthing's home folder.
    pub(crate) home: Option<PathBuf>,
    /// The shared folder.
    pub(crate) share: Option<PathBuf>,
}

/// The Syncthing of this device.
pub(crate) struct Syncthing {
    /// `None` if another service manager runs Syncthing.
    program: Option<PathBuf>,
    home: PathBuf,
    share: PathBuf,
    process: Option<Process>,
    rest: Option<Rest>,
    /// The last instruction that was applied, and when.
    applied: Option<(Instruction, Instant)>,
    checked_at: Instant,
    applied_options: AppliedOptions,
    report: Option<SyncthingReport>,
    /// Bytes received at the last check, to compute the rate.
    received: Option<(u64, Instant)>,
    last_error: Option<String>,
    backoff: ExponentialBackoff,
    start_at: Instant,
}

impl Syncthing {
    /// Starts nothing yet.
    pub(crate) fn new(setup: SyncthingSetup, folder: &Path) -> Result<Self> {
        let absolute = |path: Option<PathBuf>, name: &str| {
            let path = path.unwrap_or_else(|| folder.join(name));
            std::path::absolute(&path).doing(|| format!("find {}", path.display()))
        };
        Ok(Self {
            program: setup.program,
            home: absolute(setup.home, "syncthing")?,
            share: absolute(setup.share, "shared")?,
            process: None,
            rest: None,
            applied: None,
            checked_at: Instant::now(),
            applied_options: AppliedOptions::open(folder),
            report: None,
            received: None,
            last_error: None,
            backoff: RETRY.build(),
            start_at: Instant::now(),
        })
    }

    /// The last report.
    pub(crate) fn report(&self) -> Option<&SyncthingReport> {
        self.report.as_ref()
    }

    /// Starts Syncthing if needed, configures it, and updates the report; returns whether the gateway should
    /// hear of a change.
    pub(crate) async fn update(&mut self, overlay: &str, instruction: Option<&Instruction>) -> bool {
        let before = self.report.clone();
        match self.try_update(overlay, instruction).await {
            Ok(()) => self.last_error = None,
            Err(error) => {
                self.report = None;
                let text = error.to_string();
                if self.last_error.replace(text.clone()) != Some(text) {
                    log(&format!("Syncthing: {error}"));
                }
            }
        }
        let reportable = |report: &Option<SyncthingReport>| {
            report.as_ref().map(|report| {
                let states =
                    report.folders.iter().map(|folder| (folder.state.clone(), folder.missing_bytes == 0));
                (report.id.clone(), states.collect::<Vec<_>>())
            })
        };
        reportable(&before) != reportable(&self.report)
    }

    async fn try_update(&mut self, overlay: &str, instruction: Option<&Instruction>) -> Result<()> {
        if self.program.is_some() && !self.is_up(overlay)? {
            return Ok(());
        }
        if self.rest.is_none() {
            self.rest = Some(Rest::new(&home_dir::api_access(&self.home)?)?);
        }
        let is_applied = match (&self.applied, instruction) {
            (Some((applied, _)), Some(wanted)) => asks_for_the_same(applied, wanted),
            (applied, wanted) => applied.is_none() && wanted.is_none(),
        };
        // An idle Syncthing is checked less often, because computing the state of a large folder costs it
        // time.
        if is_applied && self.is_idle() && self.checked_at.elapsed() < COMPARE_INTERVAL {
            return Ok(());
        }
        self.checked_at = Instant::now();
        let Some(rest) = &self.rest else { return Ok(()) };
        let status = match rest.status().await {
            Ok(status) => status,
            Err(error) => {
                // Its address or key may have changed.
                self.rest = None;
                // A child that was just started does not answer yet.
                return if self.process.is_some() && self.report.is_none() { Ok(()) } else { Err(error) };
            }
        };
        self.backoff = RETRY.build();
        let due = !is_applied || self.applied.as_ref().is_none_or(|(_, at)| at.elapsed() > COMPARE_INTERVAL);
        if due {
            rest.restrict_to_overlay(overlay).await?;
            if let Some(instruction) = instruction {
                atomic_file::create_private_dir(&self.share)?;
                rest.share(&status.id, instruction, &self.share, &mut self.applied_options).await?;
                self.applied = Some((instruction.clone(), Instant::now()));
            }
        }
        let folder = match instruction {
            Some(instruction) => rest.folder(&instruction.folder_id).await?,
            None => None,
        };
        let rate = self.rate(&status);
        self.report = Some(SyncthingReport {
            id: status.id,
            version: status.version,
            folders: folder.into_iter().map(|folder| FolderReport { rate, ..folder }).collect(),
        });
        Ok(())
    }

    /// Whether the child runs. It is started once the overlay address exists, because it listens on no other
    /// address.
    fn is_up(&mut self, overlay: &str) -> Result<bool> {
        if self.process.as_mut().is_some_and(Process::has_ended) {
            let reason = last_line(&self.home.join(ERRORS)).or_else(|| last_line(&self.home.join(LOG)));
            log(&match reason {
                Some(line) => format!("Syncthing has ended: {line}"),
                None => "Syncthing has ended, and gives no reason".to_owned(),
            });
            self.process = None;
            self.rest = None;
            self.report = None;
            self.start_at = Instant::now() + next_delay(&mut self.backoff);
        }
        if self.process.is_none() {
            self.process = Process::find(HOME_OPTION, &self.home);
        }
        if self.process.is_some() {
            return Ok(true);
        }
        if Instant::now() < self.start_at || !is_local_address(overlay) {
            return Ok(false);
        }
        self.start(overlay)?;
        Ok(true)
    }

    fn start(&mut self, overlay: &str) -> Result<()> {
        let Some(program) = &self.program else { return Ok(()) };
        home_dir::create(&self.home, overlay)?;
        let errors = self.home.join(ERRORS);
        // Opened for appending: Syncthing is two processes that both write there. A new start empties the
        // file.
        atomic_file::remove_if_exists(&errors)?;
        let file = OpenOptions::new().create_new(true).append(true).mode(PRIVATE).open(&errors);
        let file = file.doing(|| format!("write {}", errors.display()))?;
        let mut command = Command::new(program);
        // A unit of systemd has no HOME, without which Syncthing does not start.
        command.args(arguments(&self.home)).envs(ENVIRONMENT).env("HOME", &self.home);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).process_group(0);
        let child = command.spawn().doing(|| format!("start {}", program.display()))?;
        self.process = Some(Process::of_child(child)?);
        log("Syncthing is started");
        Ok(())
    }

    fn is_idle(&self) -> bool {
        let settled = |folder: &FolderReport| folder.state == "idle" && folder.missing_bytes == 0;
        self.report
            .as_ref()
            .is_some_and(|report| !report.folders.is_empty() && report.folders.iter().all(settled))
    }

    fn rate(&mut self, status: &SystemStatus) -> f64 {
        let now = Instant::now();
        let before = self.received.replace((status.received, now));
        before.map_or(0.0, |(bytes, at)| {
            status.received.saturating_sub(bytes) as f64 / (now - at).as_secs_f64().max(0.001)
        })
    }

    /// Stops the child. A Syncthing of another service manager keeps running.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        // Syncthing is two processes; only a request over REST stops both in order.
        let asked = match &self.rest {
            Some(rest) => rest.shut_down().await,
            None => Ok(()),
        };
        if asked.is_ok() && self.rest.is_some() && timeout(STOP_TIMEOUT, process.ended()).await.is_ok() {
            return Ok(());
        }
        process.stop(STOP_TIMEOUT).await
    }
}

/// Syncthing 2 does not know the option `--no-default-folder`, and ends. In the environment 1.x reads the
/// same, and 2.x ignores it.
const ENVIRONMENT: [(&str, &str); 1] = [("STNODEFAULTFOLDER", "1")];

/// Arguments that Syncthing 1.19 to 2.x know.
fn arguments(home: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["serve".into(), HOME_OPTION.into(), home.into()];
    arguments.extend(["--no-browser", "--no-upgrade", "--logfile"].map(OsString::from));
    arguments.push(home.join(LOG).into());
    arguments.extend(["--log-max-size=4194304", "--log-max-old-files=1"].map(OsString::from));
    arguments
}

/// The last line with text in a file, shortened; `None` if there is none.
fn last_line(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let start = file.metadata().ok()?.len().saturating_sub(MAX_LAST_LINE);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_LAST_LINE).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.chars().take(300).collect())
}

/// Whether two instructions ask for the same configuration.
fn asks_for_the_same(one: &Instruction, other: &Instruction) -> bool {
    let wanted = |of: &Instruction| {
        (of.folder_id.clone(), of.folder_label.clone(), of.syncthing.clone(), of.options.clone())
    };
    wanted(one) == wanted(other)
}

fn is_local_address(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok_and(|address| UdpSocket::bind((address, 0)).is_ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Options of `syncthing serve --help` of 1.19.2 (Debian 12) and 2.0, of which the agent uses some.
    const KNOWN: [&[&str]; 2] = [
        &["--home", "--no-browser", "--no-upgrade", "--logfile", "--log-max-size", "--log-max-old-files"],
        &[
            "--home",
            "--no-browser",
            "--no-upgrade",
            "--log-file",
            "--logfile",
            "--log-max-size",
            "--log-max-old-files",
        ],
    ];

    #[test]
    fn every_option_is_known_to_syncthing_1_and_2() {
        for argument in super::arguments(Path::new("/home")) {
            let argument = argument.to_str().unwrap();
            let option = argument.split('=').next().unwrap();
            let known = |options: &&[&str]| options.contains(&option);
            assert!(!option.starts_with('-') || KNOWN.iter().all(known), "{option}");
        }
    }

    #[test]
    fn the_last_line_with_text_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("err");
        assert_eq!(super::last_line(&path), None);
        std::fs::write(&path, " \n").unwrap();
        assert_eq!(super::last_line(&path), None);
        let text = format!("{}\nsyncthing: error: unknown flag --what\n\n", "x".repeat(10_000));
        std::fs::write(&path, text).unwrap();
        assert_eq!(super::last_line(&path).as_deref(), Some("syncthing: error: unknown flag --what"));
    }

    #[test]
    fn only_local_addresses_can_be_bound() {
        assert!(super::is_local_address("127.0.0.1"));
        assert!(!super::is_local_address("192.0.2.77") && !super::is_local_address("nowhere"));
    }
}
