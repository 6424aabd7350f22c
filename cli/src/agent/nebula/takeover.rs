//! Starting and reloading nebula, and what it says meanwhile: in its log, or in the journal where a unit runs it.

use std::time::Duration;

use chrono::Utc;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::Nebula;
use super::log::Event;
use crate::error::{Code, Error, Result};

/// Time nebula may take to start, or to confirm a reload.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for which nebula must run on after it called its interface active: addresses and routes come after
/// that message, and each can end it.
const SETTLE_TIME: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// A unit without a word in the journal for so long logs elsewhere, so that only its process can be looked at.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Interval of reading the journal while nothing is awaited from it.
const JOURNAL_INTERVAL: Duration = Duration::from_secs(5);

impl Nebula {
    /// Waits until the nebula that was just started is up.
    pub(super) async fn wait_until_up(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut last_error = None;
        let mut up_at: Option<Instant> = None;
        let mut is_silent = self.unit.is_some();
        while started.elapsed() < START_TIMEOUT {
            let is_running = self.is_running();
            // Read after that, so that the last words of an ended process are complete.
            let events = self.events().await;
            is_silent &= events.is_empty();
            for event in events {
                match event {
                    Event::Up => up_at = Some(Instant::now()),
                    Event::Error(text) => last_error = Some(text),
                    Event::Reloading | Event::Reloaded => {}
                }
            }
            if !is_running {
                let why = last_error.unwrap_or_else(|| "it gives no reason".to_owned());
                return Err(Error::new(Code::WrongState, format!("nebula ended when it was started: {why}"))
                    .hint(format!("Its log is {}", self.log_place())));
            }
            if is_silent && started.elapsed() > JOURNAL_TIMEOUT {
                return Ok(());
            }
            if up_at.is_some_and(|at| at.elapsed() > SETTLE_TIME) {
                return Ok(());
            }
            sleep(self.poll_interval()).await;
        }
        // nebula runs, but its log does not contain the known message; a future release may have changed it.
        Ok(())
    }

    /// Makes nebula reload its configuration, and waits until every part of it has. Returns the first error
    /// that nebula logged meanwhile: parts of the configuration are in force then, others are not. Fails when
    /// a restart is needed.
    pub(crate) async fn reload(&mut self, counter: u64) -> Result<Option<String>> {
        let ran = self.running.as_ref().map(|(process, _)| process.started());
        // Lines from before the reload are no answer to it.
        self.events().await;
        let started = Utc::now();
        self.hang_up().await?;
        if self.unit.is_some() {
            self.follow_unit(counter, started).await?;
            // A unit without ExecReload is restarted instead.
            if ran.is_some() && self.running.as_ref().map(|(process, _)| process.started()) != ran {
                return self.wait_until_up().await.map(|()| None);
            }
        }
        let (mut reloads, mut refreshed, mut objection) = (0, false, None);
        let mut is_silent = self.unit.is_some();
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT && self.is_running() {
            let events = self.events().await;
            is_silent &= events.is_empty();
            if is_silent && started.elapsed() > JOURNAL_TIMEOUT {
                return Ok(None);
            }
            for event in events {
                match event {
                    // The parts reload one after the other, and most log nothing when they succeed. nebula
                    // begins the second reload when the first one has ended; it finds nothing changed.
                    Event::Reloading if reloads == 0 => {
                        reloads = 1;
                        self.hang_up().await?;
                    }
                    Event::Reloading if objection.is_some() => return Ok(objection),
                    Event::Reloading if refreshed => return self.save_record(counter).map(|()| None),
                    Event::Reloaded => refreshed = true,
                    Event::Error(text) if reloads > 0 => drop(objection.get_or_insert(text)),
                    Event::Reloading | Event::Error(_) | Event::Up => {}
                }
            }
            sleep(self.poll_interval()).await;
        }
        // The last words of a nebula that has ended.
        for event in self.events().await {
            if let Event::Error(text) = event {
                objection.get_or_insert(text);
            }
        }
        let silent = || "nebula did not say that it has reloaded".to_owned();
        Err(Error::new(Code::WrongState, objection.unwrap_or_else(silent)))
    }

    /// Sends SIGHUP, or has the service manager do what the unit says.
    async fn hang_up(&mut self) -> Result<()> {
        match (&self.unit, &self.running) {
            (Some(unit), _) => unit.act("reload").await,
            (None, Some((process, _))) => process.signal(Signal::HUP),
            (None, None) => Err(Error::new(Code::WrongState, "nebula does not run")),
        }
    }

    /// Reads tunnels from the journal of the unit, if one runs nebula; not at each call, since each look is a process.
    pub(crate) async fn follow_journal(&mut self) {
        if self.unit.is_some() && self.read_at.is_none_or(|at| at.elapsed() >= JOURNAL_INTERVAL) {
            self.events().await;
        }
    }

    /// The lines that nebula has written since the last call: in its log, or in the journal of its unit.
    async fn events(&mut self) -> Vec<Event> {
        match &mut self.unit {
            Some(unit) => {
                self.read_at = Some(Instant::now());
                let words = unit.words().await;
                self.log.read_lines(&words)
            }
            None => self.log.read(),
        }
    }

    /// Each look into the journal is a process.
    fn poll_interval(&self) -> Duration {
        POLL_INTERVAL * if self.unit.is_some() { 5 } else { 1 }
    }

    fn log_place(&self) -> String {
        match &self.unit {
            Some(unit) => unit.journal(),
            None => self.log.path().display().to_string(),
        }
    }
}
