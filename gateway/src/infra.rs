//! Parts of the process that know no domain: LISTEN connections and who waits on them, limits, metrics, logs.

pub(crate) mod bind;
pub(crate) mod device_program;
pub(crate) mod event_hub;
mod listener;
pub(crate) mod long_poll_hub;
pub(crate) mod metrics;
pub(crate) mod rate_limit;
pub(crate) mod readiness;
pub(crate) mod trace;
pub(crate) mod web_assets;
