//! The parent's side of a media process: starts it, listens to it, and ends it.
//!
//! The child parses bytes that come from anyone, so nothing it says is trusted: lines are bounded, numbers clamped,
//! and silence is death.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::media::{MediaError, Progress, Summary};

/// A child that says nothing for this long hangs.
const SILENCE: Duration = Duration::from_secs(120);
/// No honest line is longer.
const MAX_LINE: u64 = 64 * 1024;
/// Lines of the child's stderr that are kept for its obituary.
const LAST_WORDS: usize = 20;

/// One line on the child's stdout; the last one is `Result` or `Error`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// Still at work.
    Progress(Progress),
    /// The output is complete.
    Result {
        /// What was made.
        result: Summary,
    },
    /// There is no output.
    Error {
        /// Why, in a sentence.
        error: String,
        /// Whether trying again is pointless.
        permanent: bool,
    },
}

/// How to start media processes.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
    silence: Duration,
}

impl Default for Launcher {
    fn default() -> Self {
        // The link keeps working when the file behind it is replaced by an upgrade.
        Self::new("/proc/self/exe", SILENCE)
    }
}

impl Launcher {
    /// Starts `program media …`, and kills a child that is silent for `silence`.
    pub fn new(program: impl Into<PathBuf>, silence: Duration) -> Self {
        Self { program: program.into(), silence }
    }

    /// Converts `input` into `output` in a child process. Dropping the future kills the child.
    pub async fn convert(
        &self,
        input: &Path,
        output: &Path,
        mut report: impl FnMut(Progress),
    ) -> Result<Summary, MediaError> {
        let mut child = self.spawn(input, output)?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(MediaError::transient("the media process has no pipes"));
        };
        let last_words = tokio::spawn(keep_last(BufReader::new(stderr)));
        let mut stdout = BufReader::new(stdout);
        let outcome = loop {
            match timeout(self.silence, next_line(&mut stdout)).await {
                Ok(Ok(Some(Line::Progress(progress)))) => report(sane(progress)),
                Ok(Ok(Some(Line::Result { result }))) => break Some(Ok(result)),
                Ok(Ok(Some(Line::Error { error, permanent }))) => {
                    break Some(Err(MediaError { sentence: error, permanent }));
                }
                Ok(Ok(None)) => break None,
                Ok(Err(error)) => {
                    break Some(Err(MediaError::transient(format!(
                        "the media process talked nonsense: {error}"
                    ))));
                }
                Err(_) => {
                    let seconds = self.silence.as_secs();
                    break Some(Err(MediaError::transient(format!(
                        "the media process was silent for {seconds} s and was killed"
                    ))));
                }
            }
        };
        // After its last line a child has nothing left to do, so nothing is lost by not waiting for it.
        let _ = child.start_kill();
        let status = child
            .wait()
            .await
            .map_err(|error| MediaError::transient(format!("cannot wait for the media process: {error}")))?;
        match outcome {
            Some(outcome) => outcome,
            None => Err(obituary(status, &last_words.await.unwrap_or_default())),
        }
    }

    fn spawn(&self, input: &Path, output: &Path) -> Result<Child, MediaError> {
        // No variable is passed on: the environment holds the credentials of database and storage.
        Command::new(&self.program)
            .arg0("nebula-worker")
            .args(["media", "--parent", &std::process::id().to_string(), "--input"])
            .arg(input)
            .arg("--output")
            .arg(output)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| MediaError::transient(format!("cannot start the media process: {error}")))
    }
}

/// The next line, `None` at the end; a line that is too long or no JSON is an error.
async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    if reader.take(MAX_LINE).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Reads everything, so that the child never blocks on a full pipe, and keeps the end of it.
async fn keep_last(mut reader: impl AsyncBufRead + Unpin) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    let mut line = Vec::new();
    while matches!((&mut reader).take(500).read_until(b'\n', &mut line).await, Ok(1..)) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !text.is_empty() {
            tracing::debug!(target: "nebula_worker::media", "{text}");
            lines.push_back(text);
        }
        if lines.len() > LAST_WORDS {
            lines.pop_front();
        }
        line.clear();
    }
    lines
}

/// Why a child ended without a last line. A crash may be the input's fault or the machine's, so it is tried again;
/// the number of attempts is what stops a poisonous file.
fn obituary(status: ExitStatus, last_words: &VecDeque<String>) -> MediaError {
    let words: Vec<_> = last_words.iter().map(String::as_str).collect();
    let said =
        if words.is_empty() { String::new() } else { format!("; it last said: {}", words.join(" | ")) };
    MediaError::transient(format!("the media process ended early ({status}){said}"))
}

fn sane(mut progress: Progress) -> Progress {
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
    async fn played_by(script: &str) -> (Result<Summary, MediaError>, Vec<Progress>) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("child");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut seen = Vec::new();
        let launcher = Launcher::new(&program, Duration::from_millis(500));
        let outcome =
            launcher.convert(Path::new("/in"), Path::new("/out"), |progress| seen.push(progress)).await;
        (outcome, seen)
    }

    #[tokio::test]
    async fn progress_then_error_is_passed_on() {
        let script =
            r#"echo '{"progress":0.5,"fps":12.5,"stage":"remux"}'; echo '{"error":"no","permanent":true}'"#;
        let (outcome, seen) = played_by(script).await;
        assert_eq!(outcome.unwrap_err(), MediaError::permanent("no"));
        assert_eq!(seen, [Progress { progress: 0.5, fps: Some(12.5), stage: "remux".into() }]);
    }

    #[tokio::test]
    async fn a_crash_carries_its_last_words_and_may_be_tried_again() {
        let (outcome, _) = played_by("echo first >&2; echo 'the end' >&2; kill -SEGV $$").await;
        let error = outcome.unwrap_err();
        assert!(!error.permanent);
        assert!(
            error.sentence.contains("first | the end") && error.sentence.contains("signal: 11"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn silence_nonsense_and_endless_lines_end_the_child() {
        let (outcome, _) = played_by("exec sleep 60").await;
        assert!(outcome.unwrap_err().sentence.contains("silent"));
        let (outcome, _) = played_by("echo hello; exec sleep 60").await;
        assert!(outcome.unwrap_err().sentence.contains("nonsense"));
        let (outcome, _) = played_by("exec tr '\\0' 'x' < /dev/zero").await;
        assert!(outcome.unwrap_err().sentence.contains("nonsense"));
    }

    #[tokio::test]
    async fn the_child_sees_no_environment() {
        let (outcome, _) = played_by("env >&2; exit 3").await;
        let said = outcome.unwrap_err().sentence;
        assert!(said.contains("PWD=/") && !said.contains("HOME=") && !said.contains("CARGO"), "{said}");
    }
}
