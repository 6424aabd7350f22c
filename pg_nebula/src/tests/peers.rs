//! Tests of nodes and peers, with what they share.

mod cost;
mod creation;
mod input;
mod placement;
mod relocation;
mod report;
mod rights;

use super::{device, register, run, text};

/// SQL for a public key of WireGuard.
pub(in crate::tests) fn key(number: u32) -> String {
    format!("encode(sha256('key {number}'), 'base64')")
}

/// Statement that creates a peer and shows its node and address.
pub(in crate::tests) fn create(project: &str, number: u32, rest: &str) -> String {
    format!(
        "SELECT concat_ws(' ', coalesce(n.name, 'local'), host(p.ip))
           FROM nebula.create_peer('{project}', NULL, {}, name => 'peer {number}'{rest}) p
           LEFT JOIN nebula.node n USING (node_id)",
        key(number)
    )
}

/// A node whose agent is device 1, and the identifier of its interface.
pub(in crate::tests) fn node(project: &str) -> String {
    register(project, 1, "host");
    run(&format!(
        "SELECT nebula.allocate_ip('{project}', device_id) FROM nebula.device;
         SELECT nebula.tie_node(nebula.register_node('berlin', 'berlin.example:51820'), device_id)
           FROM nebula.device"
    ));
    text("SELECT interface_id FROM nebula.node_interface")
}

/// The answer to a report of the agent of device 1 that names these values of its interface.
pub(in crate::tests) fn sync(interface: &str, values: &str) -> String {
    text(&format!(
        "SELECT nebula.sync_node(NULL, '{}', clock_timestamp(), jsonb_build_object(
           'epoch', nebula.node_epoch(), 'interfaces', jsonb_build_array(
           jsonb_build_object('interfaceId', '{interface}', 'publicKey', {}) || {values}))) #>> '{{}}'",
        device(1),
        key(1000),
    ))
}

/// The interface runs everything that is wanted.
pub(in crate::tests) fn applied(interface: &str) {
    sync(interface, "jsonb_build_object('generation', (SELECT max(generation) FROM nebula.node_interface))");
}

pub(in crate::tests) fn state(name: &str) -> String {
    text(&format!("SELECT state FROM nebula.peer_status WHERE name = '{name}'"))
}
