//! The way back from a configuration that nebula took over while it ran, and does not start with: after a
//! crash or a reboot the device would be off the network for good. nebula runs an earlier configuration in its
//! place, and the gateway is told.

use super::Agent;
use super::journal::log;
use super::nebula::failure::Stage;
use super::state::Generation;
use crate::error::{Code, Error, Result};

/// After this many failures in a row an earlier configuration is started. The first ones may be due to a port
/// or an interface that is not free yet.
const MAX_FAILED_STARTS: u32 = 3;

impl Agent {
    /// Starts nebula again after it has ended.
    pub(super) async fn restart_nebula(&mut self) -> Result<()> {
        let Some(current) = self.folder.current()? else { return self.resume().await };
        // No fault of this configuration: another one would have the same overlay.
        self.check_lan().await?;
        if let Err(error) = self.restart_current().await {
            self.failed_starts += 1;
            if self.failed_starts < MAX_FAILED_STARTS {
                return Err(error);
            }
            self.failed_starts = 0;
            return self.start_substitute(current, error).await;
        }
        self.failed_starts = 0;
        self.running = Some(current);
        self.adopt_running()
    }

    /// Starts nebula with the configuration before `current`, with which it ended by this error.
    async fn start_substitute(&mut self, current: Generation, error: Error) -> Result<()> {
        let earlier = self.earlier_than(&current)?.filter(|_| !current.has_substitute());
        let Some(earlier) = earlier else {
            // Neither of them starts, or there is one alone: the machine's fault, which may pass.
            current.remove_substitute()?;
            return Err(error);
        };
        current.substitute(&earlier)?;
        if self.restart_current().await.is_err() {
            current.remove_substitute()?;
            return Err(error);
        }
        let (number, before) = (current.counter(), earlier.counter());
        log(&format!("nebula does not start with configuration {number}; it runs configuration {before}"));
        self.refuse(&current, Stage::Start, &error)?;
        self.running = Some(current);
        self.adopt_running()
    }

    /// Tries the configuration that has a substitute again.
    pub(super) async fn end_substitution(&mut self, current: Generation) -> Result<()> {
        let gone = || Error::new(Code::WrongState, "the earlier configuration is gone");
        let earlier = self.earlier_than(&current)?.ok_or_else(gone)?;
        current.remove_substitute()?;
        self.fit(&current)?;
        let (stage, error) = match self.nebula.test(&current.config_path()).await? {
            Some(reason) => (Stage::Test, Error::new(Code::WrongState, reason)),
            None => match self.restart_current().await {
                Ok(()) => {
                    log(&format!("nebula runs configuration {} (started)", current.counter()));
                    return self.accept(current);
                }
                Err(error) => (Stage::Start, error),
            },
        };
        current.substitute(&earlier)?;
        self.fit(&current)?;
        self.refuse(&current, stage, &error)?;
        if stage == Stage::Start { self.restart_current().await } else { Ok(()) }
    }

    /// The configuration before this one that this release of nebula has not refused.
    fn earlier_than(&self, current: &Generation) -> Result<Option<Generation>> {
        for generation in self.folder.generations()? {
            let is_earlier = generation.counter() < current.counter();
            if is_earlier && generation.refused(self.nebula.version())?.is_none() {
                return Ok(Some(generation));
            }
        }
        Ok(None)
    }
}
