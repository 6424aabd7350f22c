//! Nodes and their WireGuard peers.

mod fake_node;
mod http;
mod node_sync;
mod wait;
