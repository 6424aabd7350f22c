//! Makes nebula run a configuration that is on disk: test it, switch to it atomically, roll back when nebula
//! fails.

use std::fs;
use std::path::Path;

use nebula_api::agent::Refused;

use super::Agent;
use super::journal::log;
use super::nebula::config::{Change, Config};
use super::state::Generation;
use crate::error::{Code, Doing, Error, Result};

impl Agent {
    /// Continues after the previous agent: adopts the nebula that it left running, and applies a
    /// configuration that it fetched but did not apply.
    pub(super) async fn resume(&mut self) -> Result<()> {
        let left_running = self.nebula.adopt().await?;
        let mut generations = self.folder.generations()?;
        let current = self.folder.current()?.map(|current| current.counter());
        // Even when nebula cannot run, calls to the gateway need keys: it may send a better configuration.
        if let Some(first) =
            generations.iter().find(|one| Some(one.counter()) == current).or(generations.first())
        {
            self.set_credentials(first)?;
        }
        let running = generations.iter().position(|one| Some(one.counter()) == left_running);
        self.running = running.map(|at| generations.remove(at));
        let Some(newest) = self.newest_accepted()? else { return Ok(()) };
        match &self.running {
            Some(running) if running.counter() == newest.counter() && current == left_running => {
                log(&format!("nebula goes on with configuration {}", running.counter()));
                self.adopt_running()
            }
            _ => self.apply(newest).await,
        }
    }

    /// The newest configuration that this release of nebula has not refused.
    fn newest_accepted(&mut self) -> Result<Option<Generation>> {
        for generation in self.folder.generations()? {
            match generation.refused(self.nebula.version())? {
                None => return Ok(Some(generation)),
                Some(reason) => {
                    self.refused.get_or_insert(Refused { counter: generation.counter(), reason });
                }
            }
        }
        Ok(None)
    }

    /// Makes nebula run a configuration. If nebula refuses it, the refusal is recorded and the previous one
    /// keeps running.
    pub(super) async fn apply(&mut self, next: Generation) -> Result<()> {
        let before = self.folder.current()?.map(|current| current.counter());
        let is_first = before.is_none_or(|before| before == next.counter());
        match self.nebula.test(&next.config_path()).await? {
            // There is no other configuration to fall back to, as after the certificate has expired: the
            // gateway must send one.
            Some(reason) if is_first => {
                let detail = format!("nebula does not take configuration {}: {reason}", next.counter());
                return Err(Error::new(Code::WrongState, detail));
            }
            Some(reason) => return self.refuse(&next, &reason),
            None => {}
        }
        let change = self.required_change(&next)?;
        self.folder.switch(next.counter())?;
        if let Err(error) = self.reload_or_restart(change, next.counter()).await {
            let Some(before) = before.filter(|_| !is_first) else {
                // The same configuration is tried again later.
                self.running = None;
                return Err(error);
            };
            self.folder.switch(before)?;
            self.refuse(&next, &error.to_string())?;
            return self.nebula.restart(before).await;
        }
        log(&format!("nebula runs configuration {} ({})", next.counter(), verb(change)));
        if self.refused.as_ref().is_some_and(|refused| refused.counter < next.counter()) {
            self.refused = None;
        }
        self.running = Some(next);
        self.adopt_running()
    }

    async fn reload_or_restart(&mut self, change: Change, counter: u64) -> Result<()> {
        if change < Change::Restart {
            match self.nebula.reload(counter).await {
                Ok(()) => return Ok(()),
                Err(error) => log(&format!("{error}; it is restarted")),
            }
        }
        match self.nebula.restart(counter).await {
            // The interface or the port may not be free yet.
            Err(error) => {
                log(&format!("{error}; it is tried once more"));
                self.nebula.restart(counter).await
            }
            restarted => restarted,
        }
    }

    fn required_change(&mut self, next: &Generation) -> Result<Change> {
        if !self.nebula.is_running() {
            return Ok(Change::Restart);
        }
        // A configuration with the same counter has overwritten the one to compare with.
        let other = self.running.as_ref().filter(|running| running.counter() != next.counter());
        let Some(running) = other else { return Ok(Change::Restart) };
        let (old, new) = (read(&running.config_path()), read(&next.config_path())?);
        Ok(old.map_or(Change::Restart, |old| old.change(&new, self.nebula.release())))
    }

    fn refuse(&mut self, next: &Generation, reason: &str) -> Result<()> {
        log(&format!("nebula does not take configuration {}: {reason}", next.counter()));
        next.refuse(self.nebula.version(), reason)?;
        self.refused = Some(Refused { counter: next.counter(), reason: reason.to_owned() });
        Ok(())
    }

    /// Uses the keys of the running configuration from now on, and removes configurations that are no longer
    /// needed.
    fn adopt_running(&mut self) -> Result<()> {
        if let Some(running) = self.running.take() {
            let result = self.set_credentials(&running);
            if let Ok(config) = read(&running.config_path()) {
                self.traffic.set_interface(config.interface());
            }
            let counter = running.counter();
            self.running = Some(running);
            result?;
            self.folder.prune(counter)?;
        }
        Ok(())
    }

    fn set_credentials(&mut self, first: &Generation) -> Result<()> {
        let others = self.folder.generations()?.into_iter();
        let others = others.filter(|other| other.counter() < first.counter()).map(|other| other.credential);
        self.credentials = std::iter::once(first.credential.clone()).chain(others).collect();
        Ok(())
    }

    /// Starts nebula again after it has ended.
    pub(super) async fn restart_nebula(&mut self) -> Result<()> {
        match self.folder.current()? {
            Some(current) => {
                self.nebula.restart(current.counter()).await?;
                self.running = Some(current);
                self.adopt_running()
            }
            None => self.resume().await,
        }
    }
}

fn read(path: &Path) -> Result<Config> {
    let text = fs::read_to_string(path).doing(|| format!("read {}", path.display()))?;
    Config::parse(&text).map_err(|error: Error| error.hint(format!("It is {}", path.display())))
}

fn verb(change: Change) -> &'static str {
    match change {
        Change::None | Change::Reload => "reloaded",
        Change::Restart => "started",
    }
}
