//! The parent's side of a media process: starts it, reads its messages, and ends it.
//!
//! The child parses untrusted bytes, so its output is not trusted either: lines are limited in length,
//! numbers are clamped, and a child that sends nothing for too long is killed.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::media::{Event, MediaError, Piece, Progress, Summary, Task};
use crate::sandbox::output_limit;

/// A child that sends no message for this long hangs.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of a message; the longest is the plan of a file, of which the chunks of 100 hours are a third of that.
const MAX_LINE: u64 = 1024 * 1024;
/// Last lines of the child's stderr that are kept for the error message.
const MAX_STDERR_LINES: usize = 20;

/// One line of JSON on the child's stdout; the last one is `Result` or `Error`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Message {
    /// The work goes on.
    Progress(Progress),
    /// A piece is complete.
    Piece {
        /// Its description.
        piece: Piece,
    },
    /// The output is complete.
    Result {
        /// A description of what was made; its type depends on the task.
        result: Value,
    },
    /// There is no output.
    Error {
        /// A sentence for people.
        error: String,
        /// Whether another attempt is pointless.
        permanent: bool,
        /// Whether there was no room for the output.
        #[serde(default)]
        no_room: bool,
    },
}

/// How to start media processes.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
    silence_timeout: Duration,
    tuning: Tuning,
}

/// How much of the machine a media process takes.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Niceness, from 0 to 19: lower priority than the services that answer users.
    pub nice: u8,
    /// Threads of each codec; 0: as many as there are processors, within bounds.
    pub threads: u16,
    /// Device that encodes and decodes, where it can.
    pub device: Option<PathBuf>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { nice: 10, threads: 0, device: None }
    }
}

impl Default for Launcher {
    fn default() -> Self {
        // The link leads to the running program even after an upgrade has replaced its file.
        Self::new("/proc/self/exe", SILENCE_TIMEOUT)
    }
}

/// The upload of one media process.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A file that it opens itself.
    File(&'a Path),
    /// An object, of which it asks for ranges over a socket.
    Served {
        /// Bytes of the object.
        size: u64,
        /// The child's end of the socket.
        socket: BorrowedFd<'a>,
    },
}

impl Source<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::File(path) => path.metadata().map_or(0, |metadata| metadata.len()),
            Self::Served { size, .. } => *size,
        }
    }
}

/// The work of one media process.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The work.
    pub task: &'a Task,
    /// The upload.
    pub input: Source<'a>,
    /// Folder of pieces to read.
    pub pieces: Option<&'a Path>,
    /// File to write; others may lie beside it.
    pub output: &'a Path,
    /// Bytes that a file may have at most.
    pub room: Option<u64>,
}

impl Launcher {
    /// Starts children as `program media …`, and kills one that sends no message for `silence_timeout`.
    pub fn new(program: impl Into<PathBuf>, silence_timeout: Duration) -> Self {
        Self { program: program.into(), silence_timeout, tuning: Tuning::default() }
    }

    /// Starts children that take so much of the machine.
    #[must_use]
    pub fn tuned(self, tuning: Tuning) -> Self {
        Self { tuning, ..self }
    }

    /// The same without a device.
    pub(crate) fn without_device(&self) -> Self {
        self.clone().tuned(Tuning { device: None, ..self.tuning.clone() })
    }

    /// Converts `input` into `output`, of at most `room` bytes, in a child process.
    pub async fn convert(
        &self,
        input: &Path,
        output: &Path,
        room: Option<u64>,
        mut report: impl FnMut(Progress),
    ) -> Result<Summary, MediaError> {
        let input = Source::File(input);
        let work = Work { task: &Task::Convert, input, pieces: None, output, room };
        let tell = |event| match event {
            Event::Progress(progress) => report(progress),
            Event::Piece(_) => {}
        };
        self.run(work, tell).await
    }

    /// Does media work in a child process. Dropping the future kills the child.
    pub async fn run<T: DeserializeOwned>(
        &self,
        work: Work<'_>,
        mut tell: impl FnMut(Event),
    ) -> Result<T, MediaError> {
        let Work { input, room, .. } = work;
        let mut child = self.spawn(&work)?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(MediaError::transient("the media process has no pipes"));
        };
        let stderr_tail = tokio::spawn(last_lines(BufReader::new(stderr)));
        let mut stdout = BufReader::new(stdout);
        let outcome = loop {
            match timeout(self.silence_timeout, next_message(&mut stdout)).await {
                Ok(Ok(Some(Message::Progress(progress)))) => tell(Event::Progress(sanitized(progress))),
                Ok(Ok(Some(Message::Piece { piece }))) => tell(Event::Piece(piece)),
                Ok(Ok(Some(Message::Result { result }))) => {
                    break Some(serde_json::from_value(result).map_err(|error| {
                        MediaError::transient(format!("the media process sent an invalid result: {error}"))
                    }));
                }
                Ok(Ok(Some(Message::Error { error: message, permanent, no_room }))) => {
                    break Some(Err(MediaError { message, permanent, no_room }));
                }
                Ok(Ok(None)) => break None,
                Ok(Err(error)) => {
                    break Some(Err(MediaError::transient(format!(
                        "the media process sent an invalid message: {error}"
                    ))));
                }
                Err(_) => {
                    let seconds = self.silence_timeout.as_secs();
                    break Some(Err(MediaError::transient(format!(
                        "the media process was silent for {seconds} s and was killed"
                    ))));
                }
            }
        };
        // After its last message the child has nothing left to do, so killing it loses nothing.
        let _ = child.start_kill();
        let status = child
            .wait()
            .await
            .map_err(|error| MediaError::transient(format!("cannot wait for the media process: {error}")))?;
        match outcome {
            Some(outcome) => outcome,
            None if is_room_used_up(status, input.size(), room) => {
                Err(MediaError::no_room("the output is larger than the room there is"))
            }
            None => Err(early_exit(status, &stderr_tail.await.unwrap_or_default())),
        }
    }

    fn spawn(&self, work: &Work<'_>) -> Result<Child, MediaError> {
        let task = serde_json::to_string(work.task)
            .map_err(|error| MediaError::transient(format!("cannot write the task: {error}")))?;
        let mut command = Command::new(&self.program);
        // The environment is not passed on: it holds the credentials of database and storage.
        command
            .arg0("nebula-worker")
            .args(["media", "--parent", &std::process::id().to_string(), "--output"])
            .arg(work.output)
            .args(["--task", &task])
            .args(["--nice", &self.tuning.nice.to_string(), "--threads", &self.tuning.threads.to_string()])
            .env_clear()
            // Otherwise each of many threads reserves 64 MiB of the address space, which is limited.
            .env("MALLOC_ARENA_MAX", "8")
            .current_dir("/")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        match work.input {
            Source::File(path) => command.arg("--input").arg(path).stdin(Stdio::null()),
            Source::Served { size, socket } => {
                let socket = socket.try_clone_to_owned().map_err(|error| {
                    MediaError::transient(format!("cannot pass the upload to the media process: {error}"))
                })?;
                command.args(["--served", &size.to_string()]).stdin(Stdio::from(socket))
            }
        };
        if let Some(pieces) = work.pieces {
            command.arg("--pieces").arg(pieces);
        }
        if let Some(device) = self.tuning.device.as_ref().filter(|_| work.task.may_use_device()) {
            command.arg("--device").arg(device);
        }
        if let Some(room) = work.room {
            command.args(["--room", &room.to_string()]);
        }
        command
            .spawn()
            .map_err(|error| MediaError::transient(format!("cannot start the media process: {error}")))
    }
}

/// Reads the next message; `None` at the end. A line that is too long or not a message is an error.
async fn next_message(reader: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Message>> {
    let mut line = Vec::new();
    if reader.take(MAX_LINE).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Reads stderr to its end, so that the child never blocks on a full pipe, and returns the last lines.
async fn last_lines(mut reader: impl AsyncBufRead + Unpin) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    let mut line = Vec::new();
    while matches!((&mut reader).take(500).read_until(b'\n', &mut line).await, Ok(1..)) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !text.is_empty() {
            tracing::debug!(target: "nebula_worker::media", "{text}");
            lines.push_back(text);
        }
        if lines.len() > MAX_STDERR_LINES {
            lines.pop_front();
        }
        line.clear();
    }
    lines
}

/// Whether the system killed the child because its output was larger than `room`, and not because it had
/// grown beyond every measure.
fn is_room_used_up(status: ExitStatus, size: u64, room: Option<u64>) -> bool {
    status.signal() == Some(Signal::XFSZ.as_raw()) && room.is_some_and(|room| room < output_limit(size))
}

/// The error of a child that ended without a result. A crash may be the input's fault or the machine's, so
/// the job is retried; `max_attempts` bounds the retries.
fn early_exit(status: ExitStatus, stderr: &VecDeque<String>) -> MediaError {
    let lines: Vec<_> = stderr.iter().map(String::as_str).collect();
    let tail =
        if lines.is_empty() { String::new() } else { format!("; it last said: {}", lines.join(" | ")) };
    MediaError::transient(format!("the media process ended early ({status}){tail}"))
}

/// Progress within its limits, whatever the child sent.
fn sanitized(mut progress: Progress) -> Progress {
    let finite = |number: f32| if number.is_finite() { number } else { 0.0 };
    progress.progress = finite(progress.progress).clamp(0.0, 1.0);
    progress.fps = progress.fps.map(|fps| finite(fps).max(0.0));
    progress.stage.truncate(progress.stage.floor_char_boundary(32));
    progress
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Runs `script` in place of the media process.
    async fn run_script(script: &str) -> (Result<Summary, MediaError>, Vec<Progress>) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("child");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut received = Vec::new();
        let launcher = Launcher::new(&program, Duration::from_millis(500));
        let outcome = launcher
            .convert(Path::new("/in"), Path::new("/out"), Some(9), |progress| received.push(progress))
            .await;
        (outcome, received)
    }

    #[tokio::test]
    async fn progress_and_the_final_error_are_passed_on() {
        let script =
            r#"echo '{"progress":0.5,"fps":12.5,"stage":"remux"}'; echo '{"error":"no","permanent":true}'"#;
        let (outcome, received) = run_script(script).await;
        assert_eq!(outcome.unwrap_err(), MediaError::permanent("no"));
        assert_eq!(received, [Progress { progress: 0.5, fps: Some(12.5), stage: "remux".into() }]);
    }

    #[tokio::test]
    async fn a_crash_reports_the_end_of_stderr_and_is_retryable() {
        let (outcome, _) = run_script("echo first >&2; echo 'the end' >&2; kill -SEGV $$").await;
        let error = outcome.unwrap_err();
        assert!(!error.permanent);
        assert!(error.message.contains("first | the end") && error.message.contains("signal: 11"), "{error}");
    }

    #[tokio::test]
    async fn an_output_that_is_larger_than_its_room_says_so() {
        let (outcome, _) = run_script("kill -XFSZ $$").await;
        let error = outcome.unwrap_err();
        assert!(error.no_room && !error.permanent, "{error:?}");
    }

    #[tokio::test]
    async fn a_silent_or_malformed_child_is_killed() {
        let (outcome, _) = run_script("exec sleep 60").await;
        assert!(outcome.unwrap_err().message.contains("silent"));
        let (outcome, _) = run_script("echo hello; exec sleep 60").await;
        assert!(outcome.unwrap_err().message.contains("an invalid message"));
        let (outcome, _) = run_script("exec tr '\\0' 'x' < /dev/zero").await;
        assert!(outcome.unwrap_err().message.contains("an invalid message"));
    }

    #[tokio::test]
    async fn the_child_gets_no_environment() {
        let (outcome, _) = run_script("env >&2; exit 3").await;
        let message = outcome.unwrap_err().message;
        assert!(
            message.contains("PWD=/") && !message.contains("HOME=") && !message.contains("CARGO"),
            "{message}"
        );
    }
}
