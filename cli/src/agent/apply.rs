//! Makes nebula run a configuration that is on disk: test it, switch to it atomically, roll back when nebula
//! fails.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use backon::{BackoffBuilder, ExponentialBackoff};
use nebula_api::agent::Refused;
use tokio::time::Instant;

use super::Agent;
use super::backoff::{REFUSED, next_delay};
use super::change::{Change, required_change};
use super::config::Config;
use super::held_routes;
use super::journal::log;
use super::nebula::failure::{Cause, Stage, is_interface_taken, judge};
use super::state::Generation;
use crate::error::{Code, Doing, Error, Result};

/// Attempts to find an interface that is free; other agents may look for one at the same time.
const MAX_INTERFACES: u32 = 16;

/// After this many attempts, a start that fails is tried more rarely by [`RARE_STARTS`]: each attempt stops
/// the nebula that runs. A test disturbs nothing.
const MAX_FREQUENT_STARTS: u32 = 10;
const RARE_STARTS: u32 = 6;

/// When a refused configuration is tried again.
pub(super) struct Retry {
    counter: u64,
    pub(super) at: Instant,
    attempts: u32,
    backoff: ExponentialBackoff,
    /// Whether nebula objected to a reload, so that the next attempt starts it anew.
    by_restart: bool,
}

impl Retry {
    /// The first attempt is the one that has just failed.
    fn new(counter: u64) -> Self {
        Self { counter, at: Instant::now(), attempts: 0, backoff: REFUSED.build(), by_restart: false }
    }

    fn delay(&mut self, stage: Stage) {
        self.attempts += 1;
        self.by_restart |= stage == Stage::Reload;
        let is_rare = stage == Stage::Start && self.attempts > MAX_FREQUENT_STARTS;
        let delay = next_delay(&mut self.backoff) * if is_rare { RARE_STARTS } else { 1 };
        self.at = Instant::now() + delay;
    }
}

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
        let counter = newest.counter();
        let is_substituted = newest.has_substitute() && newest.refused(self.nebula.version())?.is_none();
        let resumed = match &self.running {
            Some(running)
                if running.counter() == counter && current == left_running && !self.fit(&newest)? =>
            {
                log(&format!("nebula goes on with configuration {counter}"));
                self.adopt_running()
            }
            _ => self.apply(newest).await,
        };
        if is_substituted {
            self.retry_soon(counter, Stage::Start);
        }
        resumed
    }

    /// The newest configuration that this release of nebula has not refused, or that has a substitute.
    fn newest_accepted(&mut self) -> Result<Option<Generation>> {
        for generation in self.folder.generations()? {
            let Some(reason) = generation.refused(self.nebula.version())? else {
                return Ok(Some(generation));
            };
            self.refused.get_or_insert(Refused { counter: generation.counter(), reason });
            if generation.has_substitute() {
                return Ok(Some(generation));
            }
        }
        Ok(None)
    }

    /// Makes nebula run a configuration. If nebula refuses it, the refusal is recorded and the previous one
    /// keeps running.
    pub(super) async fn apply(&mut self, next: Generation) -> Result<()> {
        let before = self.folder.current()?.map(|current| current.counter());
        let is_first = before.is_none_or(|before| before == next.counter());
        if let Err(error) = self.fit(&next) {
            return if is_first { Err(error) } else { self.refuse(&next, Stage::Start, &error) };
        }
        match self.nebula.test(&next.config_path()).await? {
            // There is no other configuration to fall back to, as after the certificate has expired: the
            // gateway must send one.
            Some(reason) if is_first => {
                let detail = format!("nebula does not take configuration {}: {reason}", next.counter());
                return Err(Error::new(Code::WrongState, detail));
            }
            Some(reason) => return self.refuse(&next, Stage::Test, &reason),
            None => {}
        }
        let change = self.required_change(&next)?;
        self.folder.switch(next.counter())?;
        match (self.reload_or_restart(change, next.counter()).await, before.filter(|_| !is_first)) {
            (Ok(None), _) => {}
            (Ok(Some(objection)), Some(before)) => {
                self.folder.switch(before)?;
                self.refuse(&next, Stage::Reload, &objection)?;
                return self.reload_again(before).await;
            }
            (Err(error), Some(before)) => {
                self.folder.switch(before)?;
                self.refuse(&next, Stage::Start, &error)?;
                return self.restart_current().await;
            }
            // The same configuration is tried again later.
            (Ok(Some(objection)), None) => return Err(Error::new(Code::WrongState, objection)),
            (Err(error), None) => {
                self.running = None;
                return Err(error);
            }
        }
        log(&format!("nebula runs configuration {} ({})", next.counter(), verb(change)));
        self.accept(next)
    }

    /// Records that nebula runs a configuration and said nothing against it.
    pub(super) fn accept(&mut self, next: Generation) -> Result<()> {
        if !next.has_substitute() {
            self.refused.take_if(|refused| refused.counter <= next.counter());
        }
        self.retry = None;
        self.failed_starts = 0;
        self.running = Some(next);
        self.adopt_running()
    }

    /// Makes nebula take over the current configuration; returns its objection to a reload, after which it
    /// runs with parts of both.
    async fn reload_or_restart(&mut self, change: Change, counter: u64) -> Result<Option<String>> {
        if change < Change::Restart {
            match self.nebula.reload(counter).await {
                Ok(objection) => return Ok(objection),
                Err(error) => log(&format!("{error}; it is restarted")),
            }
        }
        let restarted = match self.restart_current().await {
            // The interface or the port may not be free yet.
            Err(error) => {
                log(&format!("{error}; it is tried once more"));
                self.restart_current().await
            }
            restarted => restarted,
        };
        restarted.map(|()| None)
    }

    /// Goes back to the configuration that nebula ran before a reload to which it objected.
    async fn reload_again(&mut self, counter: u64) -> Result<()> {
        match self.nebula.reload(counter).await {
            Ok(None) => return Ok(()),
            Ok(Some(objection)) => log(&format!("{objection}; nebula is restarted")),
            Err(error) => log(&format!("{error}; it is restarted")),
        }
        self.restart_current().await
    }

    /// Starts nebula with the current configuration, on another interface if its own belongs to something
    /// else.
    pub(super) async fn restart_current(&mut self) -> Result<()> {
        let none = || Error::new(Code::WrongState, "there is no configuration yet");
        let current = self.folder.current()?.ok_or_else(none)?;
        self.held_routes.clear();
        self.fit(&current)?;
        for _ in 0..MAX_INTERFACES {
            let Err(error) = self.nebula.restart(current.counter()).await else { return Ok(()) };
            if !is_interface_taken(&error.to_string()) {
                return Err(error);
            }
            let wanted = current.received_interface()?;
            let taken = read(&current.config_path())?.interface().to_owned();
            let used = self.machine.replace_interface(&wanted, &taken)?;
            log(&format!(
                "the interface {taken} belongs to another program; {used} is used from now on, or the one that \
                 agent --dev names"
            ));
            self.fit(&current)?;
        }
        self.nebula.restart(current.counter()).await
    }

    /// Fits a configuration to this machine; returns whether its file has changed.
    pub(super) fn fit(&self, generation: &Generation) -> Result<bool> {
        generation.fit(|config| self.machine.fit(config, self.nebula.release()))
    }

    /// Fails while this machine is in a network with addresses of the overlay; a nebula that runs is stopped then, so
    /// that the machine keeps that network.
    pub(super) async fn check_lan(&mut self) -> Result<()> {
        let Some(current) = self.folder.current()? else { return Ok(()) };
        let checked = self.machine.check_lan(&read(&current.config_path())?);
        self.is_kept_out = checked.is_err();
        if self.is_kept_out && self.nebula.is_running() {
            self.nebula.withdraw().await?;
        }
        checked
    }

    fn required_change(&mut self, next: &Generation) -> Result<Change> {
        let by_restart = |retry: &Retry| retry.counter == next.counter() && retry.by_restart;
        if !self.nebula.is_running() || self.retry.as_ref().is_some_and(by_restart) {
            return Ok(Change::Restart);
        }
        // A configuration with the same counter has overwritten the one to compare with.
        let other = self.running.as_ref().filter(|running| running.counter() != next.counter());
        let Some(running) = other else { return Ok(Change::Restart) };
        let (old, new) = (read(&running.config_path()), read(&next.config_path())?);
        let (Ok(old), release) = (old, self.nebula.release()) else { return Ok(Change::Restart) };
        if held_routes::can_wait(&old, &new, release) {
            next.fit(|config| {
                self.machine.fit(config, release)?;
                config.take_routes(&old);
                Ok(())
            })?;
            self.held_routes.hold(Instant::now());
            return Ok(Change::Reload);
        }
        Ok(required_change(&old, &new, release))
    }

    /// Records that nebula refuses a configuration: for good, or until the machine's fault may have passed.
    pub(super) fn refuse(&mut self, next: &Generation, stage: Stage, message: &impl Display) -> Result<()> {
        let (counter, message) = (next.counter(), message.to_string());
        let judged = judge(stage, &message);
        let mut reason = format!("{message} ({})", judged.reason);
        match judged.cause {
            Cause::Configuration => {
                next.refuse(self.nebula.version(), &reason)?;
                self.retry.take_if(|retry| retry.counter == counter);
            }
            Cause::Machine => {
                self.retry_soon(counter, stage);
                reason += "; it is tried again soon";
            }
        }
        log(&format!("nebula does not take configuration {counter}: {reason}"));
        self.refused = Some(Refused { counter, reason });
        Ok(())
    }

    fn retry_soon(&mut self, counter: u64, stage: Stage) {
        // A newer configuration with the same fault does not start from the shortest delay again.
        let retry = self.retry.get_or_insert_with(|| Retry::new(counter));
        if retry.counter != counter {
            (retry.counter, retry.by_restart) = (counter, false);
        }
        retry.delay(stage);
    }

    /// Applies a configuration again that was refused for a fault of the machine.
    pub(super) async fn retry_refused(&mut self) -> Result<()> {
        let Some(retry) = &self.retry else { return Ok(()) };
        let counter = retry.counter;
        let found = self.folder.generations()?.into_iter().find(|one| one.counter() == counter);
        let Some(next) = found else {
            self.retry = None;
            return Ok(());
        };
        if next.has_substitute() {
            return self.end_substitution(next).await;
        }
        let applied = self.apply(next).await;
        if applied.is_err()
            && let Some(retry) = &mut self.retry
        {
            retry.delay(Stage::Start);
        }
        applied
    }

    /// Uses the keys of the running configuration from now on, and removes configurations that are no longer
    /// needed.
    pub(super) fn adopt_running(&mut self) -> Result<()> {
        if let Some(running) = self.running.take() {
            let result = self.set_credentials(&running);
            if let Ok(config) = read(&running.config_path()) {
                self.traffic.set_interface(config.interface());
                self.resolver.set_interface(config.interface());
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tests_go_on_within_two_minutes_and_failing_starts_become_rare() {
        let mut delays = [(Stage::Test, Vec::new()), (Stage::Start, Vec::new())];
        for (stage, delays) in &mut delays {
            let mut retry = Retry::new(7);
            for _ in 0..20 {
                let before = Instant::now();
                retry.delay(*stage);
                delays.push(retry.at - before);
            }
        }
        let [(_, tests), (_, starts)] = delays;
        let limit = Duration::from_secs(110);
        assert!(tests.iter().all(|delay| *delay < limit) && starts[..10].iter().all(|delay| *delay < limit));
        assert!(tests[0] < Duration::from_secs(5) && starts[0] < Duration::from_secs(5));
        assert!(starts[10..].iter().all(|delay| *delay > Duration::from_secs(290)), "{starts:?}");
    }
}
