//! The stories, one file each. `cargo test -p nebula-tests NAME` runs one; `make test` prepares what they need.

// A test's way to fail is to panic.
#![expect(clippy::unwrap_used, reason = "a failed expectation should say where")]

mod admin;
mod agent;
mod alarm;
mod authority;
mod crash;
mod dnapi;
mod dump;
mod film;
mod input;
mod link;
mod model;
mod overlay;
mod privilege;
mod queue;
mod race;
mod replication;
mod restart;
mod revocation;
mod session;
mod upgrade;
mod worker;
