//! Connections to PostgreSQL, and one typed call per `nebula.*` function, a file per word.
//!
//! The gateway's role may execute functions and nothing else, so there is no other SQL here. A call takes a
//! client or a transaction alike ([`GenericClient`]): its caller decides
//! what one transaction covers. Errors of the database become an [`ApiError`](crate::error::ApiError) in
//! [`error`].

pub(crate) mod account;
pub(crate) mod agent;
pub(crate) mod authority;
pub(crate) mod batcher;
pub(crate) mod bookmark;
pub(crate) mod certificate;
mod client;
mod connection;
pub(crate) mod derived_key;
pub(crate) mod device;
pub(crate) mod enrolment;
mod error;
pub(crate) mod event;
pub(crate) mod file;
pub(crate) mod firewall;
pub(crate) mod folder;
pub(crate) mod hls;
pub(crate) mod invitation;
pub(crate) mod job;
pub(crate) mod member;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod node_interface;
pub(crate) mod node_sync;
pub(crate) mod origin;
pub(crate) mod peer;
pub(crate) mod personal_token;
mod pipelined_tx;
pub(crate) mod playback;
pub(crate) mod pool;
pub(crate) mod project;
pub(crate) mod project_options;
pub(crate) mod proof;
mod query;
pub(crate) mod quota;
pub(crate) mod rate_window;
mod records;
pub(crate) mod revocation;
pub(crate) mod rotation;
pub(crate) mod series;
pub(crate) mod session;
pub(crate) mod share;
mod statement;
pub(crate) mod storage;
pub(crate) mod token_key;
pub(crate) mod totp;
pub(crate) mod trash;
pub(crate) mod upload;
mod vault;

pub(crate) use client::Database;
pub(crate) use connection::{Client, GenericClient};
pub(crate) use pipelined_tx::PipelinedTransaction;
pub(crate) use proof::{Account, Grant, Signer};
