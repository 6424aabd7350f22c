//! `/metrics`: requests with their latency, connections to the database, certificates, waiting agents, disks as last
//! watched.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use tokio::sync::Mutex;

use crate::database::{authority, certificate};
use crate::error::ApiError;
use crate::state::AppState;

/// How long a scrape waits for the database; scrapers give up after ten seconds.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long counts of the database are shown again.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Everything measured, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain")))]
pub(crate) async fn show(state: web::Data<AppState>) -> HttpResponse {
    let usage = state.database.usage();
    for (word, count) in [("open", usage.open), ("idle", usage.idle), ("most", usage.max)] {
        state.metrics.connections(word, count);
    }
    certificates(&state).await;
    let (open, waiting) = state.connections.counts();
    state.metrics.clients(open, waiting);
    state.metrics.waiting_agents(state.agents.waiting());
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(state.metrics.render())
}

/// Live devices by who renews their certificates, and the ends of authorities. Without an answer of the
/// database the last values stay.
async fn certificates(state: &AppState) {
    // Anybody may ask, and counting takes the database longer than answering.
    static ASKED: Mutex<Option<Instant>> = Mutex::const_new(None);
    let mut asked_at = ASKED.lock().await;
    if asked_at.is_some_and(|at| at.elapsed() < MAX_AGE) {
        return;
    }
    *asked_at = Some(Instant::now());
    let asked = async {
        let client = state.database.client().await?;
        let counts = certificate::renewal_counts(&client).await?;
        Ok::<_, ApiError>((counts, authority::signing(&client).await?))
    };
    let Ok(Ok((counts, signing))) = tokio::time::timeout(DATABASE_TIMEOUT, asked).await else { return };
    for count in counts {
        state.metrics.certificates(count.renewal, count.devices, count.seconds);
    }
    let signing = signing.into_iter().map(|one| (one.name, one.fingerprint, one.seconds_left));
    state.metrics.authorities(&signing.collect::<Vec<_>>());
}
