//! `/metrics`: requests with their latency, connections to the database, certificates, nodes and peers,
//! waiting agents, disks as last watched.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use tokio::sync::Mutex;

use crate::database::{authority, certificate, node, peer, storage};
use crate::error::ApiError;
use crate::http::error::not_found;
use crate::state::AppState;

/// How long a scrape waits for the database; scrapers give up after ten seconds.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long counts of the database are shown again.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Every state is shown, also one that no node or peer has.
const NODE_STATES: [&str; 4] = ["healthy", "late", "lost", "unknown"];
const PEER_STATES: [&str; 8] =
    ["pending", "active", "drifted", "refused", "moving", "disabled", "leaving", "unconfirmed"];

/// Everything measured, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain")))]
pub(crate) async fn show(state: web::Data<AppState>, request: HttpRequest) -> HttpResponse {
    if state.metrics_apart {
        return not_found(request).await;
    }
    show_apart(state).await
}

/// The same on an address of its own.
pub(crate) async fn show_apart(state: web::Data<AppState>) -> HttpResponse {
    let usage = state.database.usage();
    for (word, count) in [("open", usage.open), ("idle", usage.idle), ("most", usage.max)] {
        state.metrics.connections(word, count);
    }
    counts(&state).await;
    let (open, waiting) = state.connections.counts();
    state.metrics.clients(open, waiting);
    state.metrics.waiting_agents(state.agents.waiting());
    state.metrics.waiting_nodes(state.agents.waiting_nodes());
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(state.metrics.render())
}

/// Live devices by who renews their certificates, the ends of authorities, nodes and peers. Without an answer
/// of the database the last values stay.
async fn counts(state: &AppState) {
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
        let signing = authority::signing(&client).await?;
        let (nodes, peers) = (node::counts(&client).await?, peer::counts(&client).await?);
        Ok::<_, ApiError>((counts, signing, nodes, peers, storage::scrub_status(&client).await?))
    };
    let asked = tokio::time::timeout(DATABASE_TIMEOUT, asked).await;
    let Ok(Ok((counts, signing, nodes, peers, scrub))) = asked else { return };
    let faults = [("missing", scrub.missing), ("changed", scrub.changed), ("untracked", scrub.untracked)];
    for (fault, count) in faults {
        state.metrics.storage_faults(fault, count);
    }
    for count in counts {
        state.metrics.certificates(count.renewal, count.devices, count.seconds);
    }
    let signing = signing.into_iter().map(|one| (one.name, one.fingerprint, one.seconds_left));
    state.metrics.authorities(&signing.collect::<Vec<_>>());
    for state_of_node in NODE_STATES {
        let count = nodes.iter().find(|count| count.state == state_of_node);
        let seats = count.map_or([0, 0], |count| [count.seats, count.max_seats]);
        let oldest = count.and_then(|count| count.oldest_secret_seconds);
        state.metrics.nodes(state_of_node, count.map_or(0, |count| count.nodes), seats, oldest);
    }
    for state_of_peer in PEER_STATES {
        let count = peers.iter().find(|count| count.0 == state_of_peer);
        state.metrics.peers(state_of_peer, count.map_or(0, |count| count.1));
    }
}
