//! Downloads to standard output, a pipe or a device, which cannot be renamed or continued later.

use std::fs::{self, OpenOptions};
use std::io::{Write, stdout};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use openssl::sha::Sha256;
use reqwest::StatusCode;
use tokio::time::{sleep, timeout};

use super::{STALL_TIMEOUT, Wanted, ask, wait_note};
use crate::client::{Client, root_cause};
use crate::context::Context;
use crate::error::{Code, Doing, Error, Result};
use crate::output::{bytes, clean};
use crate::retry::{Retry, RetryOptions};

/// Where the bytes go.
pub(super) enum Stream {
    StandardOutput,
    /// An existing pipe or device.
    Path(PathBuf),
}

impl Stream {
    /// The stream that an argument of `--output` names; `None` for a file.
    pub(super) fn named(path: &Path) -> Option<Self> {
        if path.as_os_str() == "-" {
            return Some(Self::StandardOutput);
        }
        let kind = fs::metadata(path).ok()?.file_type();
        (kind.is_fifo() || kind.is_char_device()).then(|| Self::Path(path.to_owned()))
    }

    fn name(&self) -> String {
        match self {
            Self::StandardOutput => "standard output".to_owned(),
            Self::Path(path) => path.display().to_string(),
        }
    }

    /// Writes the whole content. Nothing else goes to standard output. A wrong checksum is found after the
    /// last byte is written, so that only the exit status tells it.
    pub(super) async fn fill(
        self,
        context: &Context,
        client: &Client,
        wanted: &Wanted,
        options: RetryOptions,
    ) -> Result<()> {
        if context.output.json {
            return Err(Error::new(Code::InvalidArgument, "--json and the content would be mixed up")
                .hint("Leave out --json, or name a file with --output."));
        }
        let name = self.name();
        let mut target: Box<dyn Write> = match &self {
            Self::StandardOutput => Box::new(stdout().lock()),
            Self::Path(path) => {
                Box::new(OpenOptions::new().write(true).open(path).doing(|| format!("write to {name}"))?)
            }
        };
        let mut arrived = Arrived { hash: Sha256::new(), length: 0 };
        let mut retry = Retry::new(options);
        while let Err(error) = arrived.fill(client, wanted, &mut target, &name).await {
            let Some(delay) = retry.after(&error, arrived.length) else { return Err(error) };
            wait_note(context, &error, delay);
            sleep(delay).await;
        }
        target.flush().doing(|| format!("write to {name}"))?;
        let Arrived { hash, length } = arrived;
        if hex::encode(hash.finish()) != wanted.sha256 {
            let detail = format!("what arrived is not \"{}\": its checksum differs", clean(&wanted.name));
            return Err(Error::new(Code::Damaged, detail)
                .hint(format!("Do not use what {name} got; run the same command again.")));
        }
        context.output.note(&format!("{}: {}, checksum verified", clean(&wanted.name), bytes(length)));
        Ok(())
    }
}

/// The bytes written so far.
struct Arrived {
    hash: Sha256,
    length: u64,
}

impl Arrived {
    /// Writes the rest.
    async fn fill(
        &mut self,
        client: &Client,
        wanted: &Wanted,
        target: &mut impl Write,
        name: &str,
    ) -> Result<()> {
        let broken = |reason: String| {
            Error::new(Code::Unreachable, format!("the download broke off: {reason}"))
                .hint(format!("What {name} got is incomplete. Run the same command again."))
        };
        if self.length == wanted.size {
            return Ok(());
        }
        let mut response = ask(client, wanted, self.length).await?;
        if self.length > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            let detail = format!("\"{}\" was replaced while it was read", clean(&wanted.name));
            return Err(Error::new(Code::WrongState, detail)
                .hint(format!("What {name} got is incomplete. Run the same command again.")));
        }
        while self.length < wanted.size {
            let next = timeout(STALL_TIMEOUT, response.chunk()).await;
            let next = next.map_err(|_| broken(format!("nothing came for {} s", STALL_TIMEOUT.as_secs())))?;
            let Some(chunk) = next.map_err(|error| broken(root_cause(&error)))? else {
                return Err(broken("the server closed the connection".to_owned()));
            };
            target.write_all(&chunk).doing(|| format!("write to {name}"))?;
            self.hash.update(&chunk);
            self.length += chunk.len() as u64;
        }
        Ok(())
    }
}
