//! `nebula.yml`: the configuration a device runs. Pure: data in, text out.
//!
//! The text is valid for nebula 1.6 and 1.11 alike. In a bundle, file names are relative, so that nebula runs
//! in the folder where the bundle was unpacked; an agent gets certificates inline and adds its own key.
//! Lighthouse, relay and host differ in four blocks only.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use nebula_certificate::{PublicKey, Version};

use crate::database::device::{DeviceRow, FirewallRule, Role};
use crate::database::project::{ProjectConfig, Route, StaticHost};
use crate::domain::authority::Subject;

mod names;
pub(crate) mod packet;
mod peers;
mod reach;
mod rule;

/// nebula's usual port; lighthouses and relays without an endpoint listen on it.
const DEFAULT_PORT: u16 = 4242;

/// Everything the configuration of one device is made from.
#[derive(Debug, Clone)]
pub(crate) struct DeviceConfig {
    pub(crate) project: Arc<ProjectConfig>,
    pub(crate) device: DeviceRow,
}

/// The place of the certificates.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PkiSource<'a> {
    /// In files beside `nebula.yml`, as in a bundle.
    Files,
    /// In `nebula.yml` itself; the agent adds the key.
    Inline {
        /// The authorities to trust.
        ca: &'a str,
        /// The certificates of the device.
        certificate: &'a str,
    },
}

impl DeviceConfig {
    /// The encodings of the device's certificates.
    pub(crate) fn versions(&self) -> Vec<Version> {
        let known = [(1, Version::V1), (2, Version::V2)];
        known
            .into_iter()
            .filter(|(number, _)| self.project.certificate_versions.contains(number))
            .map(|(_, one)| one)
            .collect()
    }

    /// The content of the device's certificates.
    pub(crate) fn subject(&self, public_key: &PublicKey, lifetime: Duration) -> Subject {
        let has_family =
            |network: &&IpNetwork| self.device.networks.iter().any(|own| own.is_ipv4() == network.is_ipv4());
        Subject {
            name: self.device.name.clone(),
            networks: self.device.networks.clone(),
            // nebula refuses a certificate with a network of a family that the device has no address of.
            unsafe_networks: self.device.unsafe_networks.iter().filter(has_family).copied().collect(),
            groups: self.device.groups.clone(),
            public_key: public_key.clone(),
            lifetime: self.device.lifetime_seconds.map_or(lifetime, Duration::from_secs),
            versions: self.versions(),
        }
    }

    /// The device's address, the IPv4 one if it has two.
    pub(crate) fn address(&self) -> String {
        self.device.networks.first().map_or_else(String::new, |network| network.ip().to_string())
    }

    /// The UDP port to listen on; 0 lets the system choose one.
    pub(crate) fn port(&self) -> u16 {
        let own = port_of(&self.device.endpoints);
        match self.device.role {
            Role::Host => own.unwrap_or(0),
            Role::Lighthouse | Role::Relay => own.unwrap_or(DEFAULT_PORT),
        }
    }

    /// Whether no lighthouse can tell the device where others are.
    pub(crate) fn has_no_lighthouse(&self) -> bool {
        self.device.role != Role::Lighthouse && !self.static_hosts().any(|host| host.lighthouse)
    }

    /// The text of `nebula.yml`; `nebula` is the oldest version that reads the device's certificates.
    pub(crate) fn yaml(&self, nebula: &str, pki: PkiSource<'_>) -> String {
        let (name, role) = (&self.device.name, self.device.role.word());
        let mut text = format!("# nebula.yml of {name} ({role}), for nebula {nebula} and later.\n\npki:\n");
        match pki {
            PkiSource::Files => text.push_str(FILES),
            PkiSource::Inline { ca, certificate } => {
                // As JSON strings, which spare the indentation of the lines of the PEM.
                line(&mut text, format_args!("  ca: {}\n  cert: {}", quoted(ca), quoted(certificate)));
            }
        }
        line(
            &mut text,
            format_args!("  disconnect_invalid: true\n  blocklist: [{}]", self.project.blocklist),
        );
        self.overlay(&mut text);
        self.interface(&mut text);
        self.firewall(&mut text);
        text
    }

    /// Lighthouses and relays, and the role of this device.
    fn overlay(&self, text: &mut String) {
        let reachable: Vec<_> = self
            .static_hosts()
            .map(|host| (host, self.endpoints_of(host)))
            .filter(|(_, endpoints)| !endpoints.is_empty())
            .collect();
        text.push_str(if reachable.is_empty() { "\nstatic_host_map: {}\n" } else { "\nstatic_host_map:\n" });
        for (host, endpoints) in reachable {
            line(text, format_args!("  {}: [{}]", quoted(&host.ip), list(&endpoints)));
        }
        let lighthouse = self.device.role == Role::Lighthouse;
        // A lighthouse must not name lighthouses: it would ask them instead of answering.
        let hosts = self.ips(|host| host.lighthouse && !lighthouse);
        if self.has_no_lighthouse() {
            text.push_str("\n# The project has no lighthouse yet; it is named here when it has one.");
        }
        line(
            text,
            format_args!(
                "\nlighthouse:\n  am_lighthouse: {lighthouse}\n  interval: 10\n  hosts: [{}]",
                list(&hosts)
            ),
        );
        if let Some(own) = self.own_dns() {
            let (host, port) = (quoted(&names::bracketed(own.ip())), own.port());
            line(text, format_args!("  serve_dns: true\n  dns:\n    host: {host}\n    port: {port}"));
        }
        line(text, format_args!("\nlisten:\n  host: \"::\"\n  port: {}", self.port()));
        let punchy = self.project.punchy;
        line(text, format_args!("\npunchy:\n  punch: {punchy}\n  respond: {}", punchy && !lighthouse));
        let (relay, relays) = (self.is_relay(), list(&self.relays()));
        let use_relays = self.device.role == Role::Host;
        line(
            text,
            format_args!("\nrelay:\n  am_relay: {relay}\n  use_relays: {use_relays}\n  relays: [{relays}]"),
        );
    }

    fn interface(&self, text: &mut String) {
        line(text, format_args!("\ncipher: {}", quoted(&self.project.cipher)));
        // The kernel refuses IPv6 on an interface with a smaller MTU, and nebula then does not start.
        let least = if self.device.networks.iter().any(|network| network.is_ipv6()) { 1280 } else { 0 };
        line(text, format_args!("\ntun:\n  dev: nebula1\n  mtu: {}", self.project.mtu.max(least)));
        let mut routes = self.routes().peekable();
        text.push_str(if routes.peek().is_none() { "  unsafe_routes: []\n" } else { "  unsafe_routes:\n" });
        for Route { network, via, mtu, metric, .. } in routes {
            line(text, format_args!("    - route: {}\n      via: {}", quoted(network), quoted(via)));
            if let Some(mtu) = mtu {
                let least = if network.contains(':') { 1280 } else { 0 };
                line(text, format_args!("      mtu: {}", (*mtu).max(least)));
            }
            line(text, format_args!("      metric: {}", reach::metric(*metric)));
        }
        text.push_str("\nlogging:\n  level: info\n  format: text\n");
    }

    fn firewall(&self, text: &mut String) {
        text.push_str(CONNTRACK);
        text.push_str(&rule::block("outbound", &self.outbound()));
        text.push_str(&rule::block("inbound", &self.inbound()));
    }

    /// Rules for what the device sends. nebula drops packets that match no rule, so an open project begins with a rule
    /// that matches any.
    fn outbound(&self) -> Vec<FirewallRule> {
        let mut outbound: Vec<_> =
            self.project.outbound_open.then(|| FirewallRule::all("any")).into_iter().collect();
        outbound.extend(self.forwarded());
        outbound.extend_from_slice(&self.device.outbound);
        outbound
    }

    /// Rules for what the device receives.
    fn inbound(&self) -> Vec<FirewallRule> {
        let mut inbound = vec![FirewallRule::all("icmp")];
        if self.project.inbound_open {
            inbound.push(FirewallRule::all("any"));
            inbound.extend(self.device.unsafe_networks.iter().map(FirewallRule::behind));
        } else {
            inbound.extend(self.forwarded());
        }
        inbound.extend(self.with_peers(&self.device.inbound));
        inbound
    }

    fn ips(&self, wanted: impl Fn(&StaticHost) -> bool) -> Vec<String> {
        self.static_hosts().filter(|host| wanted(host)).map(|host| host.ip.clone()).collect()
    }
}

const FILES: &str = "  ca: ca.crt
  cert: node.crt
  key: node.key # made on this device, and never leaves it
";

const CONNTRACK: &str = "
# Only members of this network get this far; tell them apart by name (host), or by groups.
firewall:
  conntrack:
    tcp_timeout: 12m
    udp_timeout: 3m
    default_timeout: 10m
";

/// The port of the first endpoint, on which the device listens.
fn port_of(endpoints: &[String]) -> Option<u16> {
    endpoints.first()?.rsplit_once(':')?.1.parse().ok()
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing into a String does not fail");
}

fn list(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ")
}

/// Quotes a text for YAML. Every JSON string is a YAML string, so no text in a row can break out of its
/// quotes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
pub(crate) mod tests;
