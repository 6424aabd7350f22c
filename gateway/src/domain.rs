//! The meaning of requests, apart from HTTP: rules, signing, and transactions of several database calls.

pub(crate) mod access;
pub(crate) mod agent_protocol;
pub(crate) mod auth;
pub(crate) mod authority;
pub(crate) mod bundle;
pub(crate) mod disks;
pub(crate) mod enrolment;
pub(crate) mod file;
pub(crate) mod gateway_address;
pub(crate) mod hls;
pub(crate) mod invitation;
pub(crate) mod leftovers;
pub(crate) mod live_events;
pub(crate) mod machine;
pub(crate) mod nebula_yml;
pub(crate) mod node_secret;
pub(crate) mod peer;
pub(crate) mod playback;
pub(crate) mod project_cache;
pub(crate) mod registration;
pub(crate) mod scrub;
pub(crate) mod share;
pub(crate) mod trash;
pub(crate) mod upload;
