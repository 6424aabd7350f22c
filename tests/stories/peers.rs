//! Nodes and their WireGuard peers.

mod adopted_server;
mod console;
mod ctl;
pub(crate) mod fake_node;
mod field;
mod group_changes;
mod http;
mod losing_proxy;
mod node_sync;
mod real_faults;
mod real_nodes;
mod wait;
