//! The stories: tests that drive the real programs, one folder for each part of the system.
//! `cargo test -p nebula-tests NAME` runs those whose path contains NAME; `make test` prepares what they
//! need.

// Tests fail by panicking.
#![expect(clippy::unwrap_used, reason = "a failed expectation should say where")]

mod addresses;
mod agent;
mod authority;
mod database;
mod dnapi;
mod gateway;
mod media;
mod overlay;
mod peers;
mod queue;
