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

    /// The address of a lighthouse's DNS: that in the overlay, so that only members learn names.
    fn dns_host(&self) -> String {
        let address = self.address();
        // In brackets: nebula before 1.9 joins host and port with a colon.
        if address.contains(':') { format!("[{address}]") } else { address }
    }

    /// The UDP port to listen on; 0 lets the system choose one.
    pub(crate) fn port(&self) -> u16 {
        let own = self.device.endpoints.first().and_then(|endpoint| endpoint.rsplit_once(':'));
        let own = own.and_then(|(_, port)| port.parse().ok());
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
                "\nlighthouse:\n  am_lighthouse: {lighthouse}\n  interval: 60\n  hosts: [{}]",
                list(&hosts)
            ),
        );
        // On one port with nebula itself, DNS would not start.
        if let Some(port) = self.project.dns_port.filter(|port| lighthouse && *port != self.port()) {
            let host = quoted(&self.dns_host());
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

    /// nebula drops packets that match no rule, so an open project begins with a rule that matches any.
    fn firewall(&self, text: &mut String) {
        let mut outbound: Vec<_> =
            self.project.outbound_open.then(|| FirewallRule::all("any")).into_iter().collect();
        outbound.extend(self.forwarded());
        outbound.extend_from_slice(&self.device.outbound);
        let mut inbound = vec![FirewallRule::all("icmp")];
        if self.project.inbound_open {
            inbound.push(FirewallRule::all("any"));
            inbound.extend(self.device.unsafe_networks.iter().map(FirewallRule::behind));
        } else {
            inbound.extend(self.forwarded());
        }
        inbound.extend(self.with_peers(&self.device.inbound));
        text.push_str(CONNTRACK);
        text.push_str(&rule::block("outbound", &outbound));
        text.push_str(&rule::block("inbound", &inbound));
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
pub(crate) mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    pub(super) fn static_host(lighthouse: bool, ip: &str, endpoints: &[&str]) -> StaticHost {
        let endpoints = endpoints.iter().map(ToString::to_string).collect();
        StaticHost { device_id: Uuid::max(), lighthouse, ip: ip.into(), endpoints }
    }

    /// As the database writes it.
    fn project_config() -> ProjectConfig {
        serde_json::from_value(json!({
            "version": 1, "projectId": Uuid::nil(), "project": "home", "cidr": "10.42.0.0/16",
            "certificateVersions": [1, 2], "mtu": 1300, "cipher": "aes", "punchy": true, "dnsPort": null,
            "inboundOpen": true, "outboundOpen": true,
            "staticHosts": [], "blocklist": [], "routes": [], "trust": []
        }))
        .unwrap()
    }

    pub(crate) fn device_config(role: Role, endpoints: &[&str]) -> DeviceConfig {
        let device = DeviceRow {
            device_id: Uuid::nil(),
            name: "laptop".into(),
            role,
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            groups: vec![],
            networks: vec!["10.42.0.7/16".parse().unwrap()],
            unsafe_networks: vec![],
            lifetime_seconds: None,
            inbound: vec![],
            outbound: vec![],
            certificate: None,
        };
        DeviceConfig { project: Arc::new(project_config()), device }
    }

    /// A host with these networks in its certificates.
    pub(super) fn config_in(
        versions: &[u8],
        networks: &[&str],
        static_hosts: &[StaticHost],
        routes: &[Route],
    ) -> DeviceConfig {
        let (static_hosts, routes) = (static_hosts.to_vec(), routes.to_vec());
        let certificate_versions = versions.to_vec();
        let project = ProjectConfig { certificate_versions, static_hosts, routes, ..project_config() };
        let mut config = device_config(Role::Host, &[]);
        config.device.networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        DeviceConfig { project: Arc::new(project), ..config }
    }

    fn yaml(role: Role, endpoints: &[&str], static_hosts: &[StaticHost]) -> String {
        let project = Arc::new(ProjectConfig { static_hosts: static_hosts.to_vec(), ..project_config() });
        DeviceConfig { project, ..device_config(role, endpoints) }.yaml("1.6", PkiSource::Files)
    }

    #[test]
    fn a_host_asks_every_lighthouse_and_uses_every_relay() {
        let text = yaml(
            Role::Host,
            &[],
            &[
                static_host(true, "10.42.0.1", &["192.0.2.10:4242", "lh.example.net:4242"]),
                static_host(false, "10.42.0.2", &[]),
                static_host(true, "10.42.0.3", &["[2001:db8::1]:4242"]),
            ],
        );
        for wanted in [
            "  \"10.42.0.1\": [\"192.0.2.10:4242\", \"lh.example.net:4242\"]\n",
            "  \"10.42.0.3\": [\"[2001:db8::1]:4242\"]\n",
            "  am_lighthouse: false\n  interval: 60\n  hosts: [\"10.42.0.1\", \"10.42.0.3\"]\n",
            "  am_relay: false\n  use_relays: true\n  relays: [\"10.42.0.2\"]\n",
            "  port: 0\n",
        ] {
            assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
        }
        assert!(!text.contains("no lighthouse yet"));
    }

    #[test]
    fn a_lighthouse_names_no_lighthouse_but_knows_where_they_are() {
        let text = yaml(
            Role::Lighthouse,
            &["192.0.2.10:5000"],
            &[static_host(true, "10.42.0.3", &["192.0.2.11:4242"])],
        );
        for wanted in [
            "  \"10.42.0.3\": [\"192.0.2.11:4242\"]\n",
            "am_lighthouse: true\n  interval: 60\n  hosts: []\n",
            "port: 5000\n",
            "use_relays: false\n",
        ] {
            assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
        }
    }

    #[test]
    fn only_the_overlay_is_told_names_by_a_lighthouse() {
        let answers_at = |networks: &[&str]| {
            let mut config = config_in(&[1, 2], networks, &[], &[]);
            Arc::make_mut(&mut config.project).dns_port = Some(53);
            config.device.role = Role::Lighthouse;
            let text = config.yaml("1.6", PkiSource::Files);
            let (_, dns) = text.split_once("  serve_dns: true\n  dns:\n    host: ").unwrap();
            dns.lines().next().unwrap().to_owned()
        };
        assert_eq!(answers_at(&["10.42.0.1/16", "fd00::1/64"]), "\"10.42.0.1\"");
        assert_eq!(answers_at(&["fd00::1/64"]), "\"[fd00::1]\"");
    }

    #[test]
    fn an_interface_with_ipv6_has_the_mtu_that_the_kernel_asks_for() {
        for (networks, mtu) in [(&["10.42.0.7/16"][..], 1000), (&["10.42.0.7/16", "fd00::7/64"], 1280)] {
            let mut config = config_in(&[1, 2], networks, &[], &[]);
            Arc::make_mut(&mut config.project).mtu = 1000;
            let text = config.yaml("1.6", PkiSource::Files);
            assert!(text.contains(&format!("  mtu: {mtu}\n")), "{text}");
        }
    }

    #[test]
    fn a_relay_relays_and_listens_on_a_known_port() {
        let text = yaml(Role::Relay, &[], &[static_host(true, "10.42.0.1", &["192.0.2.10:4242"])]);
        for wanted in [
            "am_relay: true\n  use_relays: false\n  relays: []\n",
            "port: 4242\n",
            "hosts: [\"10.42.0.1\"]\n",
        ] {
            assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
        }
    }

    #[test]
    fn without_a_lighthouse_the_file_says_so() {
        let text = yaml(Role::Host, &[], &[]);
        assert!(text.contains("static_host_map: {}\n") && text.contains("no lighthouse yet"), "{text}");
    }

    #[test]
    fn a_device_is_not_told_of_itself() {
        let itself = |host| StaticHost { device_id: Uuid::nil(), ..host };
        let others = static_host(true, "10.42.0.3", &["192.0.2.11:4242"]);
        let own = itself(static_host(true, "10.42.0.7", &["192.0.2.10:4242"]));
        let route = |device_id, network: &str| Route {
            device_id,
            network: network.into(),
            via: "10.42.0.7".into(),
            mtu: None,
            metric: None,
        };
        let routes = vec![route(Uuid::nil(), "192.168.7.0/24"), route(Uuid::max(), "192.168.8.0/24")];
        let static_hosts = vec![own, others];
        let project = Arc::new(ProjectConfig { static_hosts, routes, ..project_config() });
        let text = DeviceConfig { project, ..device_config(Role::Relay, &[]) }.yaml("1.6", PkiSource::Files);
        assert!(text.contains("10.42.0.3") && text.contains("192.168.8.0/24"), "{text}");
        assert!(!text.contains("192.0.2.10:4242") && !text.contains("192.168.7.0/24"), "{text}");
    }

    #[test]
    fn a_text_in_a_row_cannot_break_out_of_its_quotes() {
        let text = yaml(Role::Host, &[], &[static_host(true, "10.42.0.1", &["x\"]\nfirewall: {}\n#:1"])]);
        assert_eq!(text.matches("\nfirewall:").count(), 1, "{text}");
    }

    #[test]
    fn a_closed_project_lets_through_what_its_rules_say() {
        let rules = json!([
            { "protocol": "tcp", "portFirst": 443, "portLast": null, "groups": ["web", "eu"],
              "cidr": null, "host": null, "local": null },
            { "protocol": "udp", "portFirst": 5000, "portLast": 5010, "groups": [],
              "cidr": "10.42.1.0/24", "host": null, "local": null },
            { "protocol": "any", "portFirst": null, "portLast": null, "groups": [],
              "cidr": null, "host": "nas", "local": "192.168.1.0/24" }
        ]);
        let project = ProjectConfig { inbound_open: false, outbound_open: false, ..project_config() };
        let device = DeviceRow {
            inbound: serde_json::from_value(rules).unwrap(),
            unsafe_networks: vec!["192.168.1.0/24".parse().unwrap()],
            ..device_config(Role::Host, &[]).device
        };
        let text = DeviceConfig { project: Arc::new(project), device }.yaml("1.6", PkiSource::Files);
        let wanted = r#"  outbound: []
  inbound:
    - port: any
      proto: icmp
      host: any
    - port: 443
      proto: tcp
      groups: ["web", "eu"]
    - port: 5000-5010
      proto: udp
      cidr: "10.42.1.0/24"
    - port: any
      proto: any
      host: "nas"
      local_cidr: "192.168.1.0/24"
"#;
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn an_agent_gets_its_certificates_inline_and_no_key() {
        let text = device_config(Role::Host, &[])
            .yaml("1.6", PkiSource::Inline { ca: "A\nB\n", certificate: "C\n" });
        assert!(text.contains("pki:\n  ca: \"A\\nB\\n\"\n  cert: \"C\\n\"\n"), "{text}");
        assert!(!text.contains("key:"), "{text}");
    }
}
