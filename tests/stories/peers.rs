//! Nodes and their WireGuard peers.

mod adopted_server;
mod console;
mod ctl;
mod fake_node;
mod http;
mod losing_proxy;
mod node_sync;
mod real_nodes;
mod wait;
