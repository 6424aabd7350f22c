//! Requests, responses and errors of the gateway's HTTP interface: one file per word, JSON in camelCase.
//!
//! Shared by the gateway, `nebulactl` and the tests, so that one side reads what the other writes. Every
//! success is an [`Envelope`] `{"success":true,"data":…}` (the three sign-in routes answer their tokens
//! bare), every failure an [`Failure`] `{"success":false,"error":…,"sqlstate":…,"detail":…,"hint":…}`.

pub mod access;
pub mod account;
pub mod agent;
pub mod auth;
pub mod authority;
pub mod bookmark;
pub mod certificate;
pub mod device;
pub mod dnapi;
mod double_option;
pub mod endpoint;
pub mod enrolment;
pub mod envelope;
pub mod event;
pub mod file;
pub mod file_name;
pub mod firewall;
pub mod folder;
pub mod health;
pub mod invitation;
pub mod job;
pub mod network;
pub mod node;
pub mod node_sync;
pub mod peer;
pub mod personal_token;
pub mod playback;
pub mod pool;
pub mod preauth;
pub mod project;
pub mod project_options;
pub mod quota;
pub mod revocation;
pub mod series;
pub mod share;
pub mod system;
pub mod totp;
#[cfg(feature = "openapi")]
pub mod word;

pub use envelope::{Envelope, Failure, Page};
