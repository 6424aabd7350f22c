//! The last result of the readiness check.

use std::time::{Duration, Instant};

use nebula_api::health::Health;
use tokio::sync::Mutex;

/// How long a result is used again: the check writes to the storage, and anyone may ask.
const MAX_AGE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, Health)>>);

impl Readiness {
    /// The last result if it is fresh, else a new one. Callers that come during a check wait for its result.
    pub(crate) async fn get_or_check(&self, check: impl Future<Output = Health>) -> Health {
        let mut last = self.0.lock().await;
        match &*last {
            Some((at, health)) if at.elapsed() < MAX_AGE => health.clone(),
            _ => {
                let health = check.await;
                *last = Some((Instant::now(), health.clone()));
                health
            }
        }
    }
}
