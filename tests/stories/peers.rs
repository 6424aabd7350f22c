//! Nodes and their WireGuard peers.

mod console;
mod ctl;
mod fake_node;
mod http;
mod node_sync;
mod real_nodes;
mod wait;
