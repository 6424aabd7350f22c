//! Nodes as a table and as pages.

use chrono::Utc;
use nebula_api::node::{DesiredState, Liveness, Node, NodeInterface};
use nebula_api::node_sync::{Drift, DriftKind};

use crate::output::{Output, ago, bytes, clean};

/// A line for each node, and below it what needs attention.
pub(super) fn table(output: Output, nodes: &[Node]) -> String {
    let now = Utc::now();
    let rows = nodes.iter().map(|node| {
        let load = node.health.as_ref();
        let load = load.map_or_else(|| "-".to_owned(), |one| format!("{:.2}/{}", one.load, one.processors));
        [
            clean(&node.name),
            output.state(state(node)),
            format!("{}/{}", node.active_peers, node.max_peers),
            format!("{:.6}", node.score),
            clean(node.reason.as_deref().unwrap_or("takes peers")),
            drift_count(node),
            clean(&node.endpoint),
            clean(node.device.as_deref().unwrap_or("-")),
            node.seen_at.map_or_else(|| "-".to_owned(), |at| ago(at, now)),
            load,
            node.node_id.to_string(),
        ]
    });
    let headings = [
        "NAME",
        "STATE",
        ">PEERS",
        ">SCORE",
        "PLACEMENT",
        ">DRIFT",
        "ENDPOINT",
        "DEVICE",
        "REPORTED",
        ">LOAD",
        "ID",
    ];
    let mut text = output.table(headings, rows.collect());
    for node in nodes {
        for problem in problems(node) {
            text.push_str(&format!("\n{}: {}", clean(&node.name), clean(&problem)));
        }
    }
    text
}

/// Everything about one node, a line each.
pub(super) fn page(output: Output, node: &Node) -> String {
    let now = Utc::now();
    let list = |words: &[String]| clean(&words.join(", "));
    let labels = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
    let soft = node.soft_max_peers.map(|soft| format!(", others preferred above {soft}")).unwrap_or_default();
    let health = node.health.as_ref().map(|health| {
        let memory =
            format!("{} of {} memory free", bytes(health.memory_available_bytes), bytes(health.memory_bytes));
        let disk = bytes(health.disk_free_bytes);
        format!("{:.2} on {} processors, {memory}, {disk} of disk free", health.load, health.processors)
    });
    let mut lines = vec![
        ("Node", clean(&node.name)),
        ("State", output.state(state(node))),
        ("Placement", clean(node.reason.as_deref().unwrap_or("takes peers"))),
        ("Peers", format!("{} of {}{soft}", node.active_peers, node.max_peers)),
        ("Score", format!("{:.6}, weight {}", node.score, node.weight)),
        ("Project", clean(node.project.as_deref().unwrap_or("any, until it is tied to a device"))),
        ("Endpoint", clean(&node.endpoint)),
        ("Device", clean(node.device.as_deref().unwrap_or("-"))),
        ("Reported", node.seen_at.map_or_else(|| "never".to_owned(), |at| ago(at, now))),
        ("Load", health.unwrap_or_default()),
        ("Capabilities", list(&node.capabilities)),
        ("Labels", list(&labels)),
        ("Drift is", if node.repair { "repaired" } else { "reported" }.to_owned()),
        ("Secrets", node.secrets.to_string()),
        ("Id", node.node_id.to_string()),
    ];
    lines.extend(node.interfaces.iter().map(|interface| ("Interface", interface_line(interface))));
    lines.extend(problems(node).map(|problem| ("Problem", clean(&problem))));
    let lines = lines.into_iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("{name:<13} {value}")).collect::<Vec<_>>().join("\n")
}

/// `wg0: port 51820, pools 10.77.1.0/24, MTU 1280, applied 12 of 12`.
fn interface_line(interface: &NodeInterface) -> String {
    let mut parts = vec![format!("port {}", interface.listen_port)];
    parts.extend(interface.endpoint.as_ref().map(|endpoint| format!("endpoint {endpoint}")));
    parts.push(match interface.pools.as_slice() {
        [] => "no pool yet".to_owned(),
        pools => format!("pools {}", pools.join(" ")),
    });
    parts.push(format!("MTU {}", interface.mtu));
    parts.extend((!interface.dns.is_empty()).then(|| format!("DNS {}", interface.dns.join(" "))));
    parts.push(format!("applied {} of {}", interface.acknowledged_generation, interface.generation));
    parts.push(
        interface.public_key.as_ref().map_or_else(|| "no key yet".to_owned(), |key| format!("key {key}")),
    );
    clean(&format!("{}: {}", interface.name, parts.join(", ")))
}

/// An administrator's wish comes before the age of the reports.
pub(super) fn state(node: &Node) -> &'static str {
    match (node.desired_state, node.state) {
        (DesiredState::Draining, _) => "draining",
        (DesiredState::Disabled, _) => "disabled",
        (DesiredState::Active, Liveness::Healthy) => "healthy",
        (DesiredState::Active, Liveness::Late) => "late",
        (DesiredState::Active, Liveness::Lost) => "lost",
        (DesiredState::Active, Liveness::Unknown) => "unknown",
    }
}

fn drift_count(node: &Node) -> String {
    match node.interfaces.iter().map(|interface| interface.drift.len()).sum::<usize>() {
        0 => "-".to_owned(),
        count => count.to_string(),
    }
}

/// Obstacles on the machine, faults of interfaces, and drift.
fn problems(node: &Node) -> impl Iterator<Item = String> {
    let faults = node.interfaces.iter().flat_map(|interface| {
        let name = &interface.name;
        let error = interface.error.as_ref().map(|error| format!("{name} does not run: {error}"));
        error.into_iter().chain(interface.drift.iter().map(move |drift| difference(name, drift)))
    });
    node.obstacles.iter().cloned().chain(faults)
}

fn difference(interface: &str, drift: &Drift) -> String {
    let key = &drift.public_key;
    match drift.kind {
        DriftKind::Unknown => {
            format!("{interface} has a peer that is not wanted: {key} ({})", drift.allowed_ips.join(", "))
        }
        DriftKind::Missing => format!("{interface} lacks a peer: {key}"),
        DriftKind::AllowedIps => {
            format!("{interface} has other allowed IPs for {key}: {}", drift.allowed_ips.join(", "))
        }
        DriftKind::PresharedKey => format!("{interface} has another preshared key for {key}"),
    }
}
