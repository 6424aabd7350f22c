//! `LongPollWait`: an answer when there is something to do, at the latest after a minute and a half.

use std::time::Duration;

use nebula_api::dnapi::{Action, LongPollAnswer, LongPollWait};
use rand::RngExt;
use tokio::time::{Instant, sleep, sleep_until};

use super::Refusal;
use crate::agent::News;
use crate::database::agent::{self, Caller, Due, Standing};
use crate::{ApiError, AppState};

/// Shortest and longest wait in milliseconds; the client gives up after two minutes. Drawn anew each time, so that
/// agents which began together do not stay together.
const WAIT: std::ops::Range<u64> = 60_000..90_000;
/// When messages may have been lost everyone asks again, spread over this many milliseconds.
const SPREAD: u64 = 3_000;

/// Waits.
pub(super) async fn news(
    state: &AppState,
    caller: &Caller,
    wanted: LongPollWait,
) -> Result<LongPollAnswer, Refusal> {
    let configuration = action(&wanted, Action::DoConfigUpdate, "DoConfigUpdate");
    let certificate = action(&wanted, Action::DoUpdate, "DoUpdate");
    drop(wanted);
    let end = Instant::now() + Duration::from_millis(rand::rng().random_range(WAIT));
    loop {
        // Entered before asking, so that nothing falls between.
        let mut ticket = state.agents.enter(caller.project_id, caller.device_id);
        let standing = Box::pin(look(state, caller)).await?;
        let due = match standing.due {
            Some(Due::Certificate) => certificate.or(configuration),
            // A client that knows only DoUpdate gets the configuration with a certificate.
            Some(Due::Configuration) => configuration.or(certificate),
            None => None,
        };
        if let Some(action) = due {
            return Ok(answer(action));
        }
        ticket.runs(standing.version);
        let heard = tokio::select! {
            news = ticket.news() => Some(news),
            () = sleep_until(end) => None,
            () = state.stopping.cancelled() => None,
        };
        drop(ticket);
        match (heard, configuration.or(certificate)) {
            (None, _) => return Ok(answer(Action::NoOp)),
            // A newer configuration needs no question: whoever fetches it gets it. All at once would only queue.
            (Some(News::Configuration), Some(action)) => {
                spread(state.agents.waiting() as u64 / 4).await;
                return Ok(answer(action));
            }
            (Some(News::Unknown), _) => spread(SPREAD).await,
            (Some(_), _) => {}
        }
    }
}

async fn look(state: &AppState, caller: &Caller) -> Result<Standing, ApiError> {
    let client = state.database.client().await?;
    agent::call(&client, caller).await
}

fn action(wanted: &LongPollWait, action: Action, name: &str) -> Option<Action> {
    wanted.supported_actions.iter().any(|supported| supported == name).then_some(action)
}

fn answer(action: Action) -> LongPollAnswer {
    LongPollAnswer { action, response_token: String::new() }
}

/// A random part of so many milliseconds.
async fn spread(most: u64) {
    sleep(Duration::from_millis(rand::rng().random_range(0..=most.min(SPREAD)))).await;
}
