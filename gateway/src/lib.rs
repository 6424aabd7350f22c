//! HTTP face of pg_nebula.
//!
//! Every route does the same four things: authenticate, parse, one call of a `nebula.*` function, answer.
//! What the gateway really owns is what must not be in the database: the authority's key and signing ([`authority`]),
//! tokens and passwords ([`auth`]), bytes in and out of object storage, and the web console.
//! [`routes`] is the table of contents: every URL with who may call it.

pub mod account;
pub mod agent;
pub mod auth;
pub mod authority;
pub mod bundle;
pub mod certificate;
pub mod config;
pub mod configuration;
pub mod database;
pub mod device;
pub mod dnapi;
pub mod enrolment;
pub mod error;
pub mod event;
pub mod file;
pub mod firewall;
pub mod gather;
pub mod health;
pub mod job;
pub mod limits;
mod listener;
pub mod metrics;
pub mod node;
pub mod openapi;
pub mod pool;
pub mod project;
pub mod range;
pub mod revocation;
pub mod rotation;
pub mod routes;
pub mod server;
pub mod settings;
pub mod state;
pub mod stream;
pub mod trace;
pub mod upload;
pub mod web;

pub use error::ApiError;
pub use server::{Running, start};
pub use settings::Settings;
pub use state::AppState;
