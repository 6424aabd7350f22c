//! What `/metrics` shows: requests with their latency, and connections to the database.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::AppState;
use crate::health::VERSION;

/// Upper bounds of the latency histogram, in seconds: from a cached answer to a long upload.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
const REQUESTS: &str = "nebula_http_requests_total";
const DURATION: &str = "nebula_http_request_duration_seconds";
const CERTIFICATES: &str = "nebula_certificate_devices";
const EXPIRY: &str = "nebula_certificate_expiry_seconds";
/// How long a scrape waits for the database; scrapers give up after ten seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// The recorder of this process; there is one, however many gateways a test starts.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder the first time.
    ///
    /// # Errors
    /// A sentence when another part of the program has installed one already.
    pub fn install() -> Result<Self, String> {
        static RECORDER: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
        let recorder = RECORDER.get_or_init(|| {
            let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
            let handle = builder.and_then(PrometheusBuilder::install_recorder);
            let handle = handle.map_err(|error| format!("metrics cannot be recorded: {error}"))?;
            ::metrics::describe_counter!(REQUESTS, "Requests answered, by route, method and status");
            ::metrics::describe_histogram!(DURATION, ::metrics::Unit::Seconds, "Time until the answer began");
            ::metrics::describe_gauge!("nebula_database_connections", "Connections to PostgreSQL by state");
            ::metrics::describe_gauge!(CERTIFICATES, "Live devices by who renews their certificate");
            ::metrics::describe_gauge!(
                EXPIRY,
                ::metrics::Unit::Seconds,
                "Until the first certificate expires"
            );
            ::metrics::describe_gauge!("nebula_agents_waiting", "Agents that wait here for news");
            ::metrics::describe_gauge!("nebula_build_info", "Always 1; the version is a label");
            Ok(handle)
        });
        recorder.clone().map(Self)
    }

    /// Sorts recorded latencies into their buckets, so that memory does not grow when nobody scrapes. Run it now and then.
    pub fn tidy(&self) {
        self.0.run_upkeep();
    }

    /// Counts an answered request. `route` is the pattern, never the path, so that labels stay few.
    pub fn request(&self, route: Option<&str>, method: &Method, status: u16, took: Duration) {
        let route = route.unwrap_or("none").to_owned();
        let method = known(method);
        ::metrics::counter!(REQUESTS, "route" => route.clone(), "method" => method, "status" => status.to_string())
            .increment(1);
        ::metrics::histogram!(DURATION, "route" => route, "method" => method).record(took.as_secs_f64());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Live devices by who renews their certificates. A database that does not answer leaves what was known.
async fn certificates(state: &AppState) {
    let counts = async { crate::database::certificate::counts(&state.database.client().await?).await };
    let Ok(Ok(counts)) = tokio::time::timeout(PATIENCE, counts).await else { return };
    for count in counts {
        ::metrics::gauge!(CERTIFICATES, "renewal" => count.renewal.clone()).set(count.devices as f64);
        // Without a device there is no such time; what was said before must not stay.
        ::metrics::gauge!(EXPIRY, "renewal" => count.renewal).set(count.seconds.unwrap_or(f64::NAN));
    }
}

/// Anyone can invent a method; a label is made only of those that exist.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Everything measured, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain")))]
pub async fn show(state: web::Data<AppState>) -> HttpResponse {
    let (open, idle, most) = state.database.usage();
    for (word, count) in [("open", open), ("idle", idle), ("most", most)] {
        ::metrics::gauge!("nebula_database_connections", "state" => word).set(count as f64);
    }
    certificates(&state).await;
    ::metrics::gauge!("nebula_agents_waiting").set(state.agents.waiting() as f64);
    ::metrics::gauge!("nebula_build_info", "version" => VERSION).set(1.0);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(state.metrics.0.render())
}
