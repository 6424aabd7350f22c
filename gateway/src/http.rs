//! HTTP: the table of routes, one file of handlers per word, and the shape of failures.

pub(crate) mod auth;
pub(crate) mod authority;
pub(crate) mod certificate;
pub(crate) mod console;
pub(crate) mod device;
pub(crate) mod dnapi;
pub(crate) mod enrolment;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod extractor;
pub(crate) mod file;
pub(crate) mod firewall;
pub(crate) mod health;
pub(crate) mod job;
pub(crate) mod metrics;
pub(crate) mod node;
pub(crate) mod openapi;
pub(crate) mod pool;
pub(crate) mod project;
pub(crate) mod project_options;
pub(crate) mod request_log;
pub(crate) mod revocation;
pub(crate) mod rotation;
pub(crate) mod route;
pub(crate) mod routes;
pub(crate) mod upload;
