//! The extension as an administrator meets it: public functions, reports, dumps, upgrades, replication, roles,
//! background worker.

pub(crate) mod admin;
mod advisory_lock;
pub(crate) mod background_worker;
mod dump;
mod node_ranges;
mod peer_model;
mod peer_race;
mod privilege;
mod proof;
mod replication;
mod restore;
mod surface;
mod upgrade;
mod written_by_hand;
