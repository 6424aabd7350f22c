//! `LongPollWait`: answers when there is something to do, at the latest after a minute and a half.

use std::time::Duration;

use nebula_api::dnapi::{Action, LongPollAnswer, LongPollWait};
use rand::RngExt;
use tokio::time::{Instant, sleep, sleep_until};

use super::{AgentService, Refusal};
use crate::database::agent::{self, AgentState, Caller, Due};
use crate::error::{ApiError, RATE_LIMITED};
use crate::infra::long_poll_hub::Wake;

/// Shortest and longest wait in milliseconds; the client gives up after two minutes. Drawn anew each time, so
/// that agents that started together drift apart.
const WAIT_RANGE: std::ops::Range<u64> = 60_000..90_000;
/// When messages may have been lost every agent asks again, spread over this many milliseconds.
const MAX_SPREAD: u64 = 3_000;
/// Each time that an agent was woken for nothing, it asks so many milliseconds later: whoever may connect to the
/// database can wake it.
const IDLE_DELAY: u64 = 100;

impl AgentService {
    /// Waits until an update is due for the device.
    pub(crate) async fn long_poll(
        &self,
        caller: &Caller,
        supported: LongPollWait,
    ) -> Result<LongPollAnswer, Refusal> {
        let _permit = self.polls.take(caller.device_id).ok_or_else(|| {
            ApiError::new(RATE_LIMITED, format!("this device has {} long polls open", self.polls.max()))
                .hint("One is enough; those of lost connections end within 90 s.")
        })?;
        let configuration = action(&supported, Action::DoConfigUpdate, "DoConfigUpdate");
        let certificate = action(&supported, Action::DoUpdate, "DoUpdate");
        drop(supported);
        let end = Instant::now() + Duration::from_millis(rand::rng().random_range(WAIT_RANGE));
        let mut idle = 0;
        loop {
            // Subscribed before asking, so that a change in between is not missed.
            let mut subscription = self.hub.subscribe(caller.project_id, caller.device_id);
            // Boxed, so that a waiting agent does not keep the memory of the query.
            let state = Box::pin(self.state(caller)).await?;
            let due = match state.due {
                Some(Due::Certificate) => certificate.or(configuration),
                // A client that knows only DoUpdate gets the configuration with a certificate.
                Some(Due::Configuration) => configuration.or(certificate),
                None => None,
            };
            if let Some(action) = due {
                return Ok(answer(action));
            }
            subscription.set_version(state.version);
            let woken = tokio::select! {
                wake = subscription.woken() => Some(wake),
                () = sleep_until(end) => None,
                () = self.stopping.cancelled() => None,
            };
            drop(subscription);
            match (woken, configuration.or(certificate)) {
                (None, _) => return Ok(answer(Action::NoOp)),
                // A newer configuration is due for every agent, so the database need not be asked. The
                // answers are spread, because agents that fetch at the same moment would only queue.
                (Some(Wake::Configuration), Some(action)) => {
                    random_delay(self.hub.waiting() as u64 / 4).await;
                    return Ok(answer(action));
                }
                (Some(Wake::Unknown), _) => random_delay(MAX_SPREAD).await,
                (Some(_), _) => {
                    random_delay(idle).await;
                    idle += IDLE_DELAY;
                }
            }
        }
    }

    async fn state(&self, caller: &Caller) -> Result<AgentState, ApiError> {
        agent::call(&self.database.client().await?, caller).await
    }
}

fn action(wait: &LongPollWait, action: Action, name: &str) -> Option<Action> {
    wait.supported_actions.iter().any(|supported| supported == name).then_some(action)
}

fn answer(action: Action) -> LongPollAnswer {
    LongPollAnswer { action, response_token: String::new() }
}

/// Waits a random part of `max` milliseconds, at most [`MAX_SPREAD`].
async fn random_delay(max: u64) {
    sleep(Duration::from_millis(rand::rng().random_range(0..=max.min(MAX_SPREAD)))).await;
}
