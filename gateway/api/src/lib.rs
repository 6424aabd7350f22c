//! Requests, responses and errors of the gateway's HTTP interface: one file per word, JSON in camelCase.
//!
//! Shared by the gateway, `nebulactl` and the tests, so that what one side writes the other can read.
//! Every success is an [`Envelope`] `{"success":true,"data":…}` (the three sign-in routes answer their tokens bare),
//! every failure an [`Failure`] `{"success":false,"error":…,"sqlstate":…,"detail":…,"hint":…}`.

pub mod auth;
pub mod certificate;
pub mod device;
pub mod envelope;
pub mod event;
pub mod file;
pub mod health;
pub mod job;
pub mod pool;
pub mod project;

pub use envelope::{Envelope, Failure};
