//! The verbs: one file per word.

pub(crate) mod agent;
pub(crate) mod ca;
pub(crate) mod device;
pub(crate) mod doctor;
pub(crate) mod endpoint;
pub(crate) mod enrolment;
pub(crate) mod file;
pub(crate) mod get;
pub(crate) mod job;
pub(crate) mod join;
pub(crate) mod leave;
pub(crate) mod lifetime;
pub(crate) mod line;
pub(crate) mod login;
pub(crate) mod node;
pub(crate) mod peer;
pub(crate) mod ping;
pub(crate) mod play;
pub(crate) mod pool;
pub(crate) mod project;
pub(crate) mod qr;
pub(crate) mod route;
pub(crate) mod rule;
pub(crate) mod status;
pub(crate) mod upload;
