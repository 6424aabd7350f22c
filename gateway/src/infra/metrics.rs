//! The recorder behind `/metrics`, and the names of what it records.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use nebula_machine::Machine;
use nebula_storage::Room;

use crate::VERSION;

/// Upper bounds of the latency histogram, in seconds: from a cached answer to a long upload.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
const REQUESTS: &str = "nebula_http_requests_total";
const DURATION: &str = "nebula_http_request_duration_seconds";
const CONNECTIONS: &str = "nebula_database_connections";
const CERTIFICATES: &str = "nebula_certificate_devices";
const EXPIRY: &str = "nebula_certificate_expiry_seconds";
const AGENTS: &str = "nebula_agents_waiting";
const CLIENTS: &str = "nebula_http_connections";
const AUTHORITIES: &str = "nebula_authority_expiry_seconds";
const DISK_SIZE: &str = "nebula_disk_size_bytes";
const DISK_FREE: &str = "nebula_disk_free_bytes";
const DISK_RESERVE: &str = "nebula_disk_reserve_bytes";
const DISK_LEFT: &str = "nebula_disk_left_bytes";
const ORPHANS: &str = "nebula_storage_orphans";
const ORPHAN_BYTES: &str = "nebula_storage_orphan_bytes";
const STORAGE_FAULTS: &str = "nebula_storage_faults";
const BATTERY: &str = "nebula_battery_percent";
const ON_BATTERY: &str = "nebula_on_battery";
const CHARGER: &str = "nebula_charger_online";
const TEMPERATURE: &str = "nebula_processor_temperature_celsius";
const NODES: &str = "nebula_nodes";
const NODES_WAITING: &str = "nebula_nodes_waiting";
const NODE_PEERS: &str = "nebula_node_peers";
const NODE_MAX_PEERS: &str = "nebula_node_max_peers";
const NODE_SECRET_AGE: &str = "nebula_node_secret_age_seconds";
const PEERS: &str = "nebula_peers";
const BUILD: &str = "nebula_build_info";

/// The recorder of this process; there is one, however many gateways a test starts.
#[derive(Clone)]
pub(crate) struct Metrics(PrometheusHandle);

/// Another part of the program has installed a recorder already.
#[derive(Debug, Clone, thiserror::Error)]
#[error("metrics cannot be recorded: {0}")]
pub(crate) struct RecorderError(String);

impl Metrics {
    /// Installs the recorder the first time.
    pub(crate) fn install() -> Result<Self, RecorderError> {
        static RECORDER: OnceLock<Result<PrometheusHandle, RecorderError>> = OnceLock::new();
        let recorder = RECORDER.get_or_init(|| {
            let builder = PrometheusBuilder::new().set_buckets(&BUCKETS);
            let handle = builder.and_then(PrometheusBuilder::install_recorder);
            let handle = handle.map_err(|error| RecorderError(error.to_string()))?;
            ::metrics::describe_counter!(REQUESTS, "Requests answered, by route, method and status");
            ::metrics::describe_histogram!(DURATION, ::metrics::Unit::Seconds, "Time until the answer began");
            ::metrics::describe_gauge!(CONNECTIONS, "Connections to PostgreSQL by state");
            ::metrics::describe_gauge!(CERTIFICATES, "Live devices by who renews their certificate");
            ::metrics::describe_gauge!(
                EXPIRY,
                ::metrics::Unit::Seconds,
                "Until the first certificate expires"
            );
            ::metrics::describe_gauge!(AGENTS, "Agents that wait here for news");
            ::metrics::describe_gauge!(
                AUTHORITIES,
                ::metrics::Unit::Seconds,
                "Until an authority that projects sign with ends; negative afterwards"
            );
            ::metrics::describe_gauge!(CLIENTS, "Connections of clients, by what they wait for");
            let bytes = ::metrics::Unit::Bytes;
            ::metrics::describe_gauge!(DISK_SIZE, bytes, "Size of the disk of files or of the database");
            ::metrics::describe_gauge!(DISK_FREE, bytes, "Free on that disk");
            ::metrics::describe_gauge!(DISK_RESERVE, bytes, "Of which uploads and renditions leave free");
            ::metrics::describe_gauge!(
                DISK_LEFT,
                bytes,
                "Left for uploads and renditions; with 0 none is taken"
            );
            ::metrics::describe_gauge!(ORPHANS, "Objects in the storage that belong to no file");
            ::metrics::describe_gauge!(ORPHAN_BYTES, bytes, "Their size");
            ::metrics::describe_gauge!(
                STORAGE_FAULTS,
                "Differences between database and storage, as the last scrub found them"
            );
            ::metrics::describe_gauge!(BATTERY, "How full the batteries of the machine are");
            ::metrics::describe_gauge!(ON_BATTERY, "1 while the machine lives on its battery");
            ::metrics::describe_gauge!(CHARGER, "1 while a charger supplies power");
            ::metrics::describe_gauge!(TEMPERATURE, "The hottest processor");
            ::metrics::describe_gauge!(NODES, "Nodes by how recent their reports are");
            ::metrics::describe_gauge!(NODES_WAITING, "Agents of nodes that wait here for changes");
            ::metrics::describe_gauge!(NODE_PEERS, "Seats taken on these nodes");
            ::metrics::describe_gauge!(NODE_MAX_PEERS, "Limit of the seats of these nodes");
            ::metrics::describe_gauge!(
                NODE_SECRET_AGE,
                ::metrics::Unit::Seconds,
                "Age of the oldest secret of these nodes"
            );
            ::metrics::describe_gauge!(PEERS, "WireGuard peers by state");
            ::metrics::describe_gauge!(BUILD, "Always 1; the version is a label");
            Ok(handle)
        });
        recorder.clone().map(Self)
    }

    /// Sorts recorded latencies into their buckets. Without it memory grows until the next scrape.
    pub(crate) fn run_upkeep(&self) {
        self.0.run_upkeep();
    }

    /// Counts an answered request. `route` is the pattern, never the path, so that labels stay few.
    pub(crate) fn request(&self, route: Option<&str>, method: &str, status: u16, took: Duration) {
        let route = route.unwrap_or("none").to_owned();
        let method = method_label(method);
        ::metrics::counter!(
            REQUESTS,
            "route" => route.clone(), "method" => method, "status" => status.to_string()
        )
        .increment(1);
        ::metrics::histogram!(DURATION, "route" => route, "method" => method).record(took.as_secs_f64());
    }

    pub(crate) fn connections(&self, state: &'static str, count: usize) {
        ::metrics::gauge!(CONNECTIONS, "state" => state).set(count as f64);
    }

    /// Devices whose certificates are renewed in this way, and the seconds until the first of these expires.
    pub(crate) fn certificates(&self, renewal: String, devices: i64, seconds: Option<f64>) {
        ::metrics::gauge!(CERTIFICATES, "renewal" => renewal.clone()).set(devices as f64);
        // Without a device there is no such time; NaN replaces the value of an earlier scrape.
        ::metrics::gauge!(EXPIRY, "renewal" => renewal).set(seconds.unwrap_or(f64::NAN));
    }

    /// Nodes whose reports are equally recent: how many, their seats taken and in all, and the age of their
    /// oldest secret.
    pub(crate) fn nodes(&self, state: &'static str, nodes: i64, seats: [i64; 2], secret_age: Option<f64>) {
        ::metrics::gauge!(NODES, "state" => state).set(nodes as f64);
        ::metrics::gauge!(NODE_PEERS, "state" => state).set(seats[0] as f64);
        ::metrics::gauge!(NODE_MAX_PEERS, "state" => state).set(seats[1] as f64);
        ::metrics::gauge!(NODE_SECRET_AGE, "state" => state).set(secret_age.unwrap_or(f64::NAN));
    }

    pub(crate) fn peers(&self, state: &'static str, count: i64) {
        ::metrics::gauge!(PEERS, "state" => state).set(count as f64);
    }

    pub(crate) fn waiting_agents(&self, count: usize) {
        ::metrics::gauge!(AGENTS).set(count as f64);
    }

    pub(crate) fn waiting_nodes(&self, count: usize) {
        ::metrics::gauge!(NODES_WAITING).set(count as f64);
    }

    /// Name and fingerprint of each authority that projects sign with, and the seconds until its end.
    pub(crate) fn authorities(&self, signing: &[(String, String, f64)]) {
        /// Those of the last scrape: an authority that has retired must not be shown for ever.
        static SHOWN: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
        let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let now: BTreeSet<_> = signing.iter().map(|(name, print, _)| (name.clone(), print.clone())).collect();
        shown.difference(&now).cloned().for_each(|(name, print)| authority_gauge(name, print).set(f64::NAN));
        *shown = now;
        for (name, fingerprint, seconds) in signing {
            authority_gauge(name.clone(), fingerprint.clone()).set(*seconds);
        }
    }

    /// Connections of clients: all, and those that wait for their client.
    pub(crate) fn clients(&self, open: usize, waiting: usize) {
        ::metrics::gauge!(CLIENTS, "state" => "waiting").set(waiting as f64);
        ::metrics::gauge!(CLIENTS, "state" => "busy").set(open.saturating_sub(waiting) as f64);
    }

    pub(crate) fn disk(&self, name: &'static str, room: &Room) {
        ::metrics::gauge!(DISK_SIZE, "disk" => name).set(room.size as f64);
        ::metrics::gauge!(DISK_FREE, "disk" => name).set(room.free as f64);
        ::metrics::gauge!(DISK_RESERVE, "disk" => name).set(room.reserve as f64);
        ::metrics::gauge!(DISK_LEFT, "disk" => name).set(room.left() as f64);
    }

    pub(crate) fn orphans(&self, count: u64, bytes: u64) {
        ::metrics::gauge!(ORPHANS).set(count as f64);
        ::metrics::gauge!(ORPHAN_BYTES).set(bytes as f64);
    }

    /// Differences between database and storage of a kind.
    pub(crate) fn storage_faults(&self, fault: &'static str, count: i64) {
        ::metrics::gauge!(STORAGE_FAULTS, "fault" => fault).set(count as f64);
    }

    /// Battery, charger and temperature; what the machine does not have is left out.
    pub(crate) fn machine(&self, machine: &Machine) {
        let power = machine.power;
        let number = |is: bool| if is { 1.0 } else { 0.0 };
        if let Some(battery) = power.battery {
            ::metrics::gauge!(BATTERY).set(f64::from(battery.percent));
            ::metrics::gauge!(ON_BATTERY).set(number(power.is_on_battery()));
        }
        if let Some(charger) = power.charger {
            ::metrics::gauge!(CHARGER).set(number(charger));
        }
        if let Some(celsius) = machine.celsius {
            ::metrics::gauge!(TEMPERATURE).set(f64::from(celsius));
        }
    }

    /// Everything measured, in the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        ::metrics::gauge!(BUILD, "version" => VERSION).set(1.0);
        self.0.render()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn authority_gauge(name: String, fingerprint: String) -> ::metrics::Gauge {
    ::metrics::gauge!(AUTHORITIES, "authority" => name, "fingerprint" => fingerprint)
}

/// Clients can invent methods; only existing ones become a label.
fn method_label(method: &str) -> &'static str {
    match method {
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
