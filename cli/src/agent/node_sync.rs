//! The task of a node beside the agent's main loop: it keeps the WireGuard interfaces as wanted, reports them,
//! and waits in a long poll for changes. It runs without the gateway as well.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBackoff};
use nebula_api::node_sync::{NodeReport, NodeState};
use tokio::select;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::backoff::{MIN_DELAY, RETRY, next_delay};
use super::change::Release;
use super::gateway::Gateway;
use super::journal::{log, log_error};
use super::keys::Credential;
use super::node_secret;
use super::update::nonce;
use super::wireguard::{Node, NodeStatus};
use crate::error::{Code, Error, Result};

/// Interval of looking after the interfaces.
const TICK: Duration = Duration::from_millis(100);
/// Calls that may end a wait in quick succession. A first handshake is told at once, because routes follow it.
const MAX_EARLY: u32 = 5;
/// Seconds that the gateway may hold a call; counters are told this often.
const WAIT: u32 = 30;
/// A device that represents no node asks this often, and up to twice as rarely, whether it does now.
const ASK_AGAIN: Duration = Duration::from_secs(300);

/// The running task.
pub(super) struct NodeSync {
    credential: watch::Sender<Option<Credential>>,
    status: watch::Receiver<Option<NodeStatus>>,
    task: JoinHandle<()>,
}

impl NodeSync {
    /// Starts with the interfaces of the last time. `release` is that of nebula.
    pub(super) fn start(gateway: Arc<Gateway>, folder: &Path, release: Release) -> Result<Self> {
        let (credential, current) = watch::channel(None);
        let (publisher, status) = watch::channel(None);
        let sync = Sync {
            gateway,
            folder: folder.to_owned(),
            node: Node::open(folder, release)?,
            credential: current,
            status: publisher,
            call: None,
            early: 0,
            at: Instant::now(),
            backoff: RETRY.build(),
            last_error: None,
            secret_changed_at: None,
        };
        Ok(Self { credential, status, task: tokio::spawn(sync.run()) })
    }

    /// Sets the key to call the gateway with.
    pub(super) fn set_credential(&self, credential: Option<&Credential>) {
        let place = |one: &Credential| (one.host_id.clone(), one.counter);
        self.credential.send_if_modified(|present| {
            let changed = present.as_ref().map(place) != credential.map(place);
            if changed {
                *present = credential.cloned();
            }
            changed
        });
    }

    pub(super) fn status(&self) -> Option<NodeStatus> {
        self.status.borrow().clone()
    }

    /// Ends the task. Interfaces stay: the next agent finds them, and no peer notices.
    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

/// A call that the gateway may hold.
struct Call {
    task: JoinHandle<Result<NodeState>>,
    report: NodeReport,
    started: Instant,
}

struct Sync {
    gateway: Arc<Gateway>,
    folder: PathBuf,
    node: Node,
    credential: watch::Receiver<Option<Credential>>,
    status: watch::Sender<Option<NodeStatus>>,
    call: Option<Call>,
    /// Calls since the last one that lasted at least [`MIN_DELAY`].
    early: u32,
    /// Time of the next call.
    at: Instant,
    backoff: ExponentialBackoff,
    last_error: Option<String>,
    secret_changed_at: Option<SystemTime>,
}

impl Sync {
    async fn run(mut self) {
        if !self.node.is_idle() {
            self.node.apply().await;
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let status = self.node.status();
            self.status.send_if_modified(|present| std::mem::replace(present, status.clone()) != status);
            if let Err(error) = self.start_call() {
                log_error(&error);
                self.at = Instant::now() + next_delay(&mut self.backoff);
            }
            select! {
                answer = answer(&mut self.call) => self.handle(answer).await,
                _ = ticks.tick() => self.tick().await,
                changed = self.credential.changed() => {
                    // The agent has ended.
                    if changed.is_err() {
                        return;
                    }
                    self.call_now();
                }
            }
        }
    }

    fn start_call(&mut self) -> Result<()> {
        if self.call.is_some() || Instant::now() < self.at {
            return Ok(());
        }
        let Some(credential) = self.credential.borrow().clone() else { return Ok(()) };
        let report = NodeReport { nonce: nonce()?, wait: WAIT, ..self.node.report() };
        self.node.sent(&report);
        let (gateway, sent) = (self.gateway.clone(), report.clone());
        let task = tokio::spawn(async move { gateway.sync_node(&credential, &sent).await });
        self.call = Some(Call { task, report, started: Instant::now() });
        Ok(())
    }

    /// Gives up the present call, whose report may or may not have arrived, and makes another one.
    fn call_now(&mut self) {
        if let Some(call) = self.call.take() {
            call.task.abort();
            self.node.lost(&call.report);
        }
        self.at = Instant::now();
    }

    async fn tick(&mut self) {
        self.node.tick().await;
        let waits = self.call.as_ref().map(|call| call.started.elapsed() >= MIN_DELAY);
        if waits == Some(true) {
            self.early = 0;
        }
        let may_end = waits.is_some() && self.early < MAX_EARLY;
        let changed_at = node_secret::changed_at(&self.folder);
        let has_new_secret = std::mem::replace(&mut self.secret_changed_at, changed_at) != changed_at;
        if may_end && self.node.has_news() {
            self.early += 1;
            self.call_now();
        } else if self.call.is_none() && has_new_secret {
            self.call_now();
        }
    }

    async fn handle(&mut self, (call, answer): (Call, Result<NodeState>)) {
        let accepted = match answer {
            Ok(state) => {
                self.node.reported();
                self.node.accept(state)
            }
            Err(error) => {
                self.node.lost(&call.report);
                Err(error)
            }
        };
        match accepted {
            Ok(changed) => {
                self.last_error = None;
                if changed {
                    self.node.apply().await;
                }
                // The same state again at once means that the gateway waits for something that does not
                // work here.
                self.at = Instant::now();
                if changed || call.started.elapsed() > MIN_DELAY {
                    self.backoff = RETRY.build();
                } else {
                    self.at += next_delay(&mut self.backoff);
                }
            }
            Err(error) if is_no_node(&error) => self.at = Instant::now() + ask_again(),
            Err(error) => {
                self.at = Instant::now() + next_delay(&mut self.backoff);
                self.note(&error);
            }
        }
    }

    /// Logs an error that is not the last one. The main loop says when the gateway cannot be reached.
    fn note(&mut self, error: &Error) {
        let text = error.to_string();
        let is_new = self.last_error.as_ref() != Some(&text);
        if is_new && error.failure().error != "unreachable" {
            log(&format!("the node's interfaces are not synchronized: {text}"));
        }
        self.last_error = Some(text);
    }
}

/// The answer of a call; never, without one.
async fn answer(call: &mut Option<Call>) -> (Call, Result<NodeState>) {
    let Some(running) = call else { return std::future::pending().await };
    let answer = (&mut running.task).await;
    let broken = |error: JoinError| Error::new(Code::Io, format!("the call broke off: {error}"));
    match call.take() {
        Some(call) => (call, answer.map_err(broken).and_then(|answer| answer)),
        None => std::future::pending().await,
    }
}

/// Whether the gateway says that this device represents no node, or does not know the call.
fn is_no_node(error: &Error) -> bool {
    matches!(error.status, Some(400 | 404))
}

/// Random, so that the devices of a project do not ask at the same moment.
fn ask_again() -> Duration {
    let random = nonce().ok().and_then(|bytes| bytes.first().copied()).unwrap_or_default();
    ASK_AGAIN + ASK_AGAIN * u32::from(random) / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_means_that_there_is_no_node() {
        let with = |status| {
            let mut error = Error::new(Code::Refused, "no");
            error.status = status;
            error
        };
        assert!(is_no_node(&with(Some(404))) && is_no_node(&with(Some(400))));
        for status in [None, Some(401), Some(409), Some(429), Some(503)] {
            assert!(!is_no_node(&with(status)), "{status:?}");
        }
        let delay = ask_again();
        assert!(delay >= ASK_AGAIN && delay < 2 * ASK_AGAIN, "{delay:?}");
    }
}
