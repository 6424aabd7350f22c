//! The part of `status` that needs no gateway: this machine's device, as its agent has saved it.

use std::path::Path;

use chrono::{DateTime, Utc};
use nebula_api::agent::SyncthingReport;
use serde::Serialize;

use crate::agent::config::Config;
use crate::agent::report::{self, Status};
use crate::agent::resolver::NamesStatus;
use crate::agent::state::{self, AgentFolder, Identity};
use crate::agent::wireguard::NodeStatus;
use crate::error::Result;
use crate::output::{Output, ago, bytes, clean};

/// A device with an agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Local {
    #[serde(flatten)]
    identity: Identity,
    /// Pid of the agent, if it runs.
    agent_pid: Option<u32>,
    /// End of its certificate.
    certificate_not_after: Option<DateTime<Utc>>,
    /// Bytes through its interface.
    traffic: Option<InterfaceTraffic>,
    /// Name of its interface on this machine.
    interface: Option<String>,
    /// The state that the agent has saved.
    status: Option<Status>,
}

/// Bytes since the interface was created.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InterfaceTraffic {
    received_bytes: u64,
    sent_bytes: u64,
}

impl InterfaceTraffic {
    fn of(interface: &str) -> Option<Self> {
        let folder = Path::new("/sys/class/net").join(interface).join("statistics");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
        Some(Self { received_bytes: read("rx_bytes")?, sent_bytes: read("tx_bytes")? })
    }
}

impl Local {
    /// Reads the device in this folder, if there is one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        let Some(identity) = state::identity(folder)? else { return Ok(None) };
        let config = state::current_config(folder)?.and_then(|text| Config::parse(&text).ok());
        let certificates = config.as_ref().and_then(|config| config.certificates().ok()).unwrap_or_default();
        let not_after = certificates.iter().map(|certificate| certificate.details().not_after).min();
        Ok(Some(Self {
            identity,
            agent_pid: AgentFolder::holder(folder),
            certificate_not_after: not_after.and_then(|at| DateTime::from_timestamp(at, 0)),
            traffic: config.as_ref().and_then(|config| InterfaceTraffic::of(config.interface())),
            interface: config.map(|config| config.interface().to_owned()),
            status: report::last(folder)?,
        }))
    }

    /// As text.
    pub(super) fn text(&self, output: Output, folder: &Path, now: DateTime<Utc>) -> String {
        let Identity { server, network, host } = &self.identity;
        let status = self.status.clone().unwrap_or_default();
        let mut lines = vec![
            format!(
                "Device    {} in {}: {}",
                clean(&host.name),
                clean(&network.name),
                clean(&host.ip_address)
            ),
            format!("Folder    {}", folder.display()),
        ];
        lines.push(match self.agent_pid {
            Some(pid) => format!("Agent     {} (process {pid})", output.state("running")),
            None => "Agent     not running; start it: nebulactl agent".to_owned(),
        });
        lines.push(nebula(&status, now));
        if let Some(until) = self.certificate_not_after {
            lines.push(validity(until, now));
        }
        if let Some(traffic) = self.traffic {
            lines.push(format!(
                "Traffic   {} in, {} out on {}",
                bytes(traffic.received_bytes),
                bytes(traffic.sent_bytes),
                clean(self.interface.as_deref().unwrap_or("-"))
            ));
        }
        let contact =
            status.contact.at.map_or_else(|| "waiting for its first answer".to_owned(), |at| ago(at, now));
        let error = status.contact.error.as_deref().map(|error| format!("; {}", clean(error)));
        lines.push(format!("Gateway   {server}: {contact}{}", error.unwrap_or_default()));
        if let Some(refused) = &status.refused {
            lines.push(format!("Refused   configuration {}: {}", refused.counter, clean(&refused.reason)));
        }
        if let Some(names) = &status.names {
            lines.push(names_line(names));
        }
        if let Some(node) = &status.node {
            lines.extend(node.obstacles.iter().map(|obstacle| format!("Obstacle  {}", clean(obstacle))));
            lines.push(format!("\n{}", interfaces(output, node)));
        }
        if !status.peers.is_empty() {
            lines.push(format!("\n{}", peers(output, &status, now)));
        }
        if let Some(syncthing) = &status.syncthing {
            lines.push(format!("\n{}", folders(output, syncthing)));
        }
        lines.join("\n")
    }
}

/// The line about the end of the certificate.
pub(super) fn validity(until: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("Valid     until {} ({} days)", until.format("%Y-%m-%d %H:%M UTC"), (until - now).num_days())
}

fn names_line(NamesStatus { domain, servers, error }: &NamesStatus) -> String {
    let default = || format!("below {} from {}", clean(domain), clean(&servers.join(", ")));
    format!("Names     {}", error.as_deref().map_or_else(default, clean))
}

fn nebula(status: &Status, now: DateTime<Utc>) -> String {
    let version = status.nebula_version.as_deref().map(clean);
    match (status.counter, status.nebula_since, version) {
        (Some(counter), Some(since), version) => {
            let version = version.unwrap_or_else(|| "of an unknown version".to_owned());
            format!("nebula    {version}, configuration {counter}, started {}", ago(since, now))
        }
        (_, _, Some(version)) => format!("nebula    {version} does not run"),
        // The agent has not run yet.
        (_, _, None) => "nebula    does not run".to_owned(),
    }
}

fn peers(output: Output, status: &Status, now: DateTime<Utc>) -> String {
    let rows = status.peers.iter().map(|peer| {
        let remote = peer.remote.as_deref().unwrap_or("-");
        let handshake = peer.handshake_at.map_or_else(|| "-".to_owned(), |at| ago(at, now));
        let [received, sent] =
            [peer.received_bytes, peer.sent_bytes].map(|count| count.map_or_else(|| "-".to_owned(), bytes));
        [clean(&peer.name), clean(&peer.address), clean(remote), handshake, received, sent]
    });
    output.table(["PEER", "ADDRESS", "REMOTE", "TUNNEL SINCE", ">IN", ">OUT"], rows.collect())
}

fn interfaces(output: Output, node: &NodeStatus) -> String {
    let rows = node.interfaces.iter().map(|one| {
        let state = match &one.error {
            Some(error) => clean(error),
            None if one.applied < one.generation => "pending".to_owned(),
            None if one.drift > 0 => format!("{} peers differ", one.drift),
            None => output.state("running"),
        };
        let by = if one.in_kernel { "kernel" } else { "wireguard-go" };
        let port = one.listen_port.to_string();
        [clean(&one.name), port, by.to_owned(), one.peers.to_string(), one.online.to_string(), state]
    });
    output.table(["INTERFACE", ">PORT", "BY", ">PEERS", ">ONLINE", "STATE"], rows.collect())
}

fn folders(output: Output, syncthing: &SyncthingReport) -> String {
    let rows = syncthing.folders.iter().map(|folder| {
        [
            clean(&folder.id),
            format!("{:.1} %", folder.completion),
            bytes(folder.missing_bytes),
            bytes(folder.total_bytes),
            format!("{}/s", bytes(folder.rate.max(0.0) as u64)),
            output.state(&clean(&folder.state)),
        ]
    });
    output.table(["FOLDER", ">HERE", ">MISSING", ">TOTAL", ">RATE", "STATE"], rows.collect())
}
