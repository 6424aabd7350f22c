//! Parts of the process that know no domain: LISTEN connections and who waits on them, limits, metrics, logs.

pub(crate) mod access_hub;
pub(crate) mod bind;
pub(crate) mod client_prefix;
pub(crate) mod client_stream;
pub(crate) mod connections;
pub(crate) mod device_program;
pub(crate) mod event_hub;
pub(crate) mod file_limit;
mod listener;
pub(crate) mod long_poll_hub;
pub(crate) mod metrics;
pub(crate) mod node_hub;
pub(crate) mod quota;
pub(crate) mod readiness;
pub(crate) mod refusal_records;
pub(crate) mod tls;
pub(crate) mod trace;
pub(crate) mod trusted_proxies;
pub(crate) mod web_assets;
