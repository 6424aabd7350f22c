//! A process that need not be a child: found by pid and start time, then watched and signalled through a
//! pidfd, which always refers to the same process.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::{Doing, Result};

pub(crate) struct Process {
    pid: Pid,
    started: u64,
    descriptor: OwnedFd,
    /// Closed when the process has ended.
    exit: watch::Receiver<()>,
    /// A child must be reaped.
    child: Option<Child>,
}

impl Process {
    /// Takes over a child that was just started.
    pub(crate) fn of_child(child: Child) -> Result<Self> {
        let pid = Pid::from_child(&child);
        let (descriptor, exit) = open_pidfd(pid).doing(|| format!("watch process {}", child.id()))?;
        let started = start_time(child.id()).unwrap_or_default();
        Ok(Self { pid, started, descriptor, exit, child: Some(child) })
    }

    /// Takes over a running process by its pid; `expected` is its start time.
    pub(crate) fn adopt(pid: u32, expected: Option<u64>) -> Option<Self> {
        let number = Pid::from_raw(pid.try_into().ok()?)?;
        let (descriptor, exit) = open_pidfd(number).ok()?;
        // Read after the pidfd is open: from then on the pid cannot belong to another process.
        let started = start_time(pid)?;
        let mut process = Self { pid: number, started, descriptor, exit, child: None };
        (expected.is_none_or(|expected| expected == started) && !process.has_ended()).then_some(process)
    }

    /// Finds a process whose command line has this option with this path.
    pub(crate) fn find(option: &str, path: &Path) -> Option<Self> {
        let entries = fs::read_dir("/proc").ok()?.flatten();
        let mut numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.find(|pid| has_option(*pid, option, path)).and_then(|pid| Self::adopt(pid, None))
    }

    pub(crate) fn has_option(&self, option: &str, path: &Path) -> bool {
        has_option(self.pid(), option, path)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Start time in clock ticks since boot.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let sent = pidfd_send_signal(&self.descriptor, signal);
        sent.map_err(io::Error::from).doing(|| format!("signal process {}", self.pid()))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        match &mut self.child {
            Some(child) => !matches!(child.try_wait(), Ok(None)),
            None => {
                let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
                // A zombie: its parent has not reaped it yet.
                stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X']))
            }
        }
    }

    /// Waits until the process ends.
    pub(crate) async fn ended(&mut self) {
        // Nothing is ever sent; the sender is dropped when the process ends.
        let _ = self.exit.changed().await;
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }

    /// Sends SIGTERM, and SIGKILL after `stop_timeout`.
    pub(crate) async fn stop(&mut self, stop_timeout: Duration) -> Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        // Fails only if the process has just ended.
        let _ = self.signal(Signal::TERM);
        if timeout(stop_timeout, self.ended()).await.is_err() {
            let _ = self.signal(Signal::KILL);
            self.ended().await;
        }
        Ok(())
    }
}

fn has_option(pid: u32, option: &str, path: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let wanted = [option.as_bytes(), path.as_os_str().as_encoded_bytes()];
    arguments.windows(2).any(|pair| pair == wanted) && !arguments.contains(&b"-test".as_slice())
}

/// Opens a pidfd, and a channel that closes when the process ends. A plain thread waits, because the runtime
/// would wait at shutdown for a thread of its own.
fn open_pidfd(pid: Pid) -> io::Result<(OwnedFd, watch::Receiver<()>)> {
    let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
    let watched = descriptor.try_clone()?;
    let (sender, exit) = watch::channel(());
    thread::Builder::new().name(format!("process {}", pid.as_raw_nonzero())).spawn(move || {
        // A pidfd becomes readable when the process ends.
        while poll(&mut [PollFd::new(&watched, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
        drop(sender);
    })?;
    Ok((descriptor, exit))
}

/// Field 22 of `/proc/PID/stat`. Field 2, the name, may contain spaces and parentheses, so counting starts
/// after it.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_process_is_found_only_with_its_option_and_start_time() {
        let config = Path::new("/nowhere/current/nebula.yml");
        // A shell that shows the option in its command line, which the kernel has once the shell runs.
        let start = || {
            let mut shell = Command::new("sh");
            shell.args(["-c", "echo ready; read wait", "-config"]).arg(config);
            let mut child =
                shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn()?;
            let mut line = String::new();
            let stdout = child.stdout.take().expect("it is piped");
            io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line).map(|_| child)
        };
        let mut ours = Process::of_child(start().unwrap()).unwrap();
        let found = Process::find("-config", config).unwrap();
        assert_eq!((found.pid(), found.started()), (ours.pid(), ours.started()));
        assert!(Process::adopt(ours.pid(), Some(ours.started())).is_some());
        assert!(Process::adopt(ours.pid(), Some(ours.started() + 1)).is_none());
        assert!(!found.has_option("-config", Path::new("/nowhere/else.yml")));
        ours.stop(Duration::from_secs(5)).await.unwrap();
        assert!(Process::find("-config", config).is_none());
        assert!(Process::adopt(ours.pid(), Some(ours.started())).is_none());
    }

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_killed() {
        let mut child = Command::new("sh");
        child.args(["-c", "trap '' TERM; echo ready; while :; do read wait || :; done"]);
        let mut child =
            child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line).unwrap();
        // Standard input stays open, so that the shell waits instead of spinning.
        let stdin = child.stdin.take();
        let mut process = Process::of_child(child).unwrap();
        process.stop(Duration::from_millis(50)).await.unwrap();
        assert!(process.has_ended());
        drop(stdin);
    }
}
