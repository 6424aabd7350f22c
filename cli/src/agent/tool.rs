//! Programs of the system, run with lists of arguments, which no shell reads.

use std::borrow::Cow;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::error::{Code, Doing, Error, Result};

/// Time a program may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Runs a program with this standard input, and returns its standard output. After a failure the error is the
/// first line of its standard error.
pub(super) async fn run(program: &Path, arguments: &[&str], input: &str) -> Result<String> {
    let output = output(program, arguments, input).await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let first = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("it gives no reason");
    Err(Error::new(Code::WrongState, format!("{}: {}", name(program), first.trim())))
}

/// Runs a program with this standard input to its end, whatever that is.
pub(super) async fn output(program: &Path, arguments: &[&str], input: &str) -> Result<Output> {
    let run = async {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // With LOG_LEVEL wireguard-go keeps the pipes open for as long as it runs.
        command.env("LC_ALL", "C").env_remove("LOG_LEVEL").process_group(0);
        let mut child = command.kill_on_drop(true).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input.as_bytes()).await {
                // The program ended before it had read everything; its standard error says why.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        child.wait_with_output().await
    };
    let late = |_| Error::new(Code::Io, format!("{} does not end", name(program)));
    timeout(TIMEOUT, run).await.map_err(late)?.doing(|| format!("run {}", program.display()))
}

fn name(program: &Path) -> Cow<'_, str> {
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_gets_its_input_and_a_failure_names_its_first_complaint() {
        assert_eq!(run(Path::new("/bin/cat"), &[], "one\n").await.unwrap(), "one\n");
        let failed =
            run(Path::new("/bin/sh"), &["-c", "echo >&2; echo first >&2; echo second >&2; exit 3"], "");
        assert_eq!(failed.await.unwrap_err().to_string(), "sh: first");
        // Larger than a pipe, and not read.
        let ignored = run(Path::new("/bin/true"), &[], &"x".repeat(1 << 20)).await;
        assert_eq!(ignored.unwrap(), "");
        assert!(
            run(Path::new("/nowhere/nft"), &[], "").await.unwrap_err().to_string().contains("/nowhere/nft")
        );
    }
}
