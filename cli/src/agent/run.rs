//! The agent's main loop: one action at a time, with the long poll in the background.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff};
use nebula_api::dnapi::Action;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::Agent;
use super::backoff::{MIN_DELAY, RETRY, next_delay};
use super::journal::{log, log_error};
use super::keys::Credential;
use super::nebula::route_watch::RouteWatch;
use super::node_sync::NodeSync;
use crate::error::{Code, Doing, Error, Result};

/// Interval of reports without changes.
const REPORT_INTERVAL: Duration = Duration::from_secs(30);
/// Delay of a report after a change, so that several changes share one report.
const CHANGE_REPORT_DELAY: Duration = Duration::from_secs(3);
/// Interval of reading nebula's log and Syncthing.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// After this run time the next start of nebula is not delayed as after a failed one.
const STABLE_AFTER: Duration = Duration::from_secs(60);

impl Agent {
    /// Runs until a signal, then stops nebula. Fails only when the folder cannot be read or written.
    pub(crate) async fn run(mut self) -> Result<()> {
        let handler = |kind| signal(kind).doing(|| "handle signals".to_owned());
        let (mut terminate, mut interrupt, mut hangup) = (
            handler(SignalKind::terminate())?,
            handler(SignalKind::interrupt())?,
            handler(SignalKind::hangup())?,
        );
        // Before nebula, so that peers need not wait for it.
        self.start_node_sync();
        let mut poll = LongPoll::new();
        let mut restart = RestartTimer::new();
        let mut routes = RouteWatch::new();
        if let Err(error) = self.resume().await {
            log_error(&error);
        }
        restart.update(&mut self);
        let mut report_at = Instant::now();
        let mut status_at = Instant::now();
        loop {
            poll.start(&self);
            if let Some(node) = &self.node {
                node.set_credential(self.credential().ok());
            }
            let routes_at = self.held_routes.restart_at();
            let retry_at = self.retry.as_ref().map(|retry| retry.at);
            select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // The terminal is closed.
                _ = hangup.recv() => break,
                answer = poll.response() => {
                    let changed = self.handle_poll(answer, &mut poll).await;
                    restart.update(&mut self);
                    if changed {
                        report_at = Instant::now();
                    }
                }
                () = self.nebula.ended(), if !restart.is_scheduled() => {
                    log("nebula has ended");
                    self.nebula.stop().await?;
                    restart.update(&mut self);
                }
                () = sleep_until(restart.at()), if restart.is_scheduled() => {
                    let restarted = self.restart_nebula().await;
                    if let Err(error) = &restarted {
                        log_error(error);
                    }
                    restart.update(&mut self);
                    report_at = Instant::now();
                    poll.stop();
                }
                () = routes.changed() => {
                    let (ran, was_kept_out) = (self.nebula.is_running(), self.is_kept_out);
                    match self.check_lan().await {
                        Err(error) if ran => log_error(&error),
                        Ok(()) if was_kept_out => restart.hurry(),
                        _ => {}
                    }
                    restart.update(&mut self);
                }
                () = sleep_until(retry_at.unwrap_or(report_at)), if retry_at.is_some() => {
                    if let Err(error) = self.retry_refused().await {
                        log_error(&error);
                    }
                    restart.update(&mut self);
                    report_at = Instant::now();
                }
                () = sleep_until(routes_at.unwrap_or(report_at)), if routes_at.is_some() => {
                    if let Err(error) = self.release_routes().await {
                        log_error(&error);
                    }
                    restart.update(&mut self);
                }
                () = sleep_until(report_at) => {
                    if self.report().await {
                        // The long poll may still wait after its own failure.
                        self.backoff = RETRY.build();
                        poll.delay_next(Duration::ZERO);
                        poll.stop();
                    }
                    report_at = Instant::now() + REPORT_INTERVAL;
                }
                () = sleep_until(status_at) => {
                    if self.refresh_status().await {
                        report_at = report_at.min(Instant::now() + CHANGE_REPORT_DELAY);
                    }
                    status_at = Instant::now() + STATUS_INTERVAL;
                }
            }
        }
        poll.stop();
        if let Some(node) = &self.node {
            node.stop();
        }
        log("ends, and nebula with it");
        if let Some(syncthing) = &mut self.syncthing {
            syncthing.stop().await?;
        }
        self.traffic.remove().await;
        self.resolver.remove().await;
        self.nebula.stop().await
    }

    /// Without its task a node serves no peers, but stays a device.
    fn start_node_sync(&mut self) {
        let started = NodeSync::start(self.gateway.clone(), self.folder.path(), self.nebula.release());
        self.node = started.inspect_err(log_error).ok();
    }

    /// Acts on the response of a long poll; returns whether there is something to report.
    async fn handle_poll(&mut self, answer: Result<Action>, poll: &mut LongPoll) -> bool {
        let done = match answer {
            Ok(Action::NoOp) => Ok(false),
            Ok(action) => self.update(action == Action::DoUpdate).await.map(|()| true),
            Err(error) => Err(error),
        };
        match done {
            Ok(changed) => {
                self.contact.reached();
                self.backoff = RETRY.build();
                // A refused configuration is offered again until the gateway knows of the refusal, and a
                // faulty gateway might answer at once for ever: both must not keep the agent busy.
                if changed && (self.refused.is_some() || poll.is_busy()) {
                    poll.delay_next(MIN_DELAY);
                }
                changed
            }
            Err(error) => {
                self.note_failure(&error, poll.counter);
                poll.delay_next(next_delay(&mut self.backoff));
                false
            }
        }
    }

    /// Records a failed call that was signed with the key of this configuration. After status 401 the
    /// previous key is tried: a gateway restored from a backup may not know the newest one.
    pub(super) fn note_failure(&mut self, error: &Error, counter: u64) {
        if self.contact.lost(error) {
            log_error(error);
        }
        let is_first = self.credentials.first().is_some_and(|first| first.counter == counter);
        if error.status == Some(401) && is_first {
            self.credentials.rotate_left(1);
        }
    }

    /// The keys to call the gateway with.
    pub(super) fn credential(&self) -> Result<&Credential> {
        self.credentials.first().ok_or_else(|| Error::new(Code::WrongState, "there is no configuration yet"))
    }
}

/// The running long poll, or the time of the next one.
struct LongPoll {
    task: Option<JoinHandle<Result<Action>>>,
    counter: u64,
    at: Instant,
    changed_at: Option<Instant>,
}

impl LongPoll {
    fn new() -> Self {
        Self { task: None, counter: 0, at: Instant::now(), changed_at: None }
    }

    /// Starts a long poll unless one is running. One that was started for an older configuration is aborted.
    fn start(&mut self, agent: &Agent) {
        let Ok(credential) = agent.credential() else { return };
        if self.counter != credential.counter {
            self.stop();
        }
        if self.task.is_none() {
            let (gateway, credential, at) = (agent.gateway.clone(), credential.clone(), self.at);
            self.counter = credential.counter;
            self.task = Some(tokio::spawn(async move {
                sleep_until(at).await;
                gateway.long_poll(&credential).await
            }));
        }
    }

    async fn response(&mut self) -> Result<Action> {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let answer = task.await;
        self.task = None;
        answer.map_err(|error| Error::new(Code::Io, format!("the long poll broke off: {error}")))?
    }

    /// Whether the previous change came less than a second ago.
    fn is_busy(&mut self) -> bool {
        self.changed_at.replace(Instant::now()).is_some_and(|before| before.elapsed() < MIN_DELAY)
    }

    fn delay_next(&mut self, delay: Duration) {
        self.at = Instant::now() + delay;
    }

    fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// When nebula is started again after it has ended.
struct RestartTimer {
    at: Option<Instant>,
    ran_since: Option<Instant>,
    backoff: ExponentialBackoff,
}

impl RestartTimer {
    fn new() -> Self {
        Self { at: None, ran_since: None, backoff: RETRY.build() }
    }

    /// Schedules a start if nebula does not run.
    fn update(&mut self, agent: &mut Agent) {
        if agent.nebula.is_running() {
            self.at = None;
            self.ran_since.get_or_insert_with(Instant::now);
            return;
        }
        if self.ran_since.take().is_some_and(|since| since.elapsed() > STABLE_AFTER) {
            self.backoff = RETRY.build();
        }
        if self.at.is_none_or(|at| at <= Instant::now()) {
            self.at = Some(Instant::now() + next_delay(&mut self.backoff));
        }
    }

    /// Brings a start forward, but not before the shortest delay.
    fn hurry(&mut self) {
        if let Some(at) = &mut self.at {
            *at = (*at).min(Instant::now() + MIN_DELAY);
        }
    }

    fn is_scheduled(&self) -> bool {
        self.at.is_some()
    }

    fn at(&self) -> Instant {
        self.at.unwrap_or_else(Instant::now)
    }
}
