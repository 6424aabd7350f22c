//! `nebula.yml`: the configuration a device runs. Pure: facts in, text out.
//!
//! The text is valid for nebula 1.6 and 1.11 alike. In a bundle, file names in it are relative, so that it runs where it
//! was unpacked; an agent gets certificates inline and adds its own key. Lighthouse, relay and host differ in four
//! blocks only.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use nebula_certificate::{PublicKey, Version};
use serde::Deserialize;
use uuid::Uuid;

use crate::authority::Subject;

mod rule;

pub use rule::Rule;

/// The port nebula is known for; a device without an endpoint of its own and with a fixed place uses it.
const DEFAULT_PORT: u16 = 4242;

/// What a device is in the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Talks to others.
    Host,
    /// Tells others where everyone is.
    Lighthouse,
    /// Carries traffic for those who cannot reach each other.
    Relay,
}

impl Role {
    /// Reads the word used in the API and the database.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Host, Self::Lighthouse, Self::Relay].into_iter().find(|role| role.word() == text)
    }

    /// The word used in the API and the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Lighthouse => "lighthouse",
            Self::Relay => "relay",
        }
    }
}

/// A device that others' configuration names: a lighthouse or a relay.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Landmark {
    /// Which device it is.
    pub device_id: Uuid,
    /// Whether it is a lighthouse; otherwise it is a relay.
    pub lighthouse: bool,
    /// Overlay address.
    pub ip: String,
    /// Where it is on the underlay.
    pub endpoints: Vec<String>,
}

/// A network that is reached through a device.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Route {
    device_id: Uuid,
    network: String,
    via: String,
    mtu: Option<u32>,
    metric: Option<u32>,
}

/// What the devices of a project have in common, as `nebula.project_configuration` answers it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Common {
    /// Version of the project's configuration.
    pub version: i64,
    /// The project.
    pub project_id: Uuid,
    /// Its name.
    pub project: String,
    /// The whole overlay, when the project has one.
    pub cidr: Option<String>,
    /// Encodings of certificates, 1 and 2.
    pub certificate_versions: Vec<u8>,
    mtu: u32,
    cipher: String,
    punchy: bool,
    dns_port: Option<u16>,
    inbound_open: bool,
    outbound_open: bool,
    landmarks: Vec<Landmark>,
    /// As it stands in nebula.yml: it may be long, and is the same for ten thousand devices.
    #[serde(deserialize_with = "listed")]
    blocklist: String,
    routes: Vec<Route>,
}

fn listed<'de, D: serde::Deserializer<'de>>(words: D) -> Result<String, D::Error> {
    Ok(list(&Vec::<String>::deserialize(words)?))
}

/// Everything the configuration of one device is made from, as `nebula.device_configurations` answers it.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What it has in common with the other devices of its project.
    pub common: Arc<Common>,
    /// The device.
    pub device_id: Uuid,
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// `host:port` where others reach it; the port of the first is the one it listens on.
    pub endpoints: Vec<String>,
    /// Groups for firewall rules.
    pub groups: Vec<String>,
    /// Its addresses with the prefix length of the overlay, IPv4 first.
    pub networks: Vec<IpNetwork>,
    /// Networks behind it.
    pub unsafe_networks: Vec<IpNetwork>,
    /// How long its certificates are to be valid, when the project says so.
    pub lifetime_seconds: Option<u64>,
    /// What it takes.
    pub inbound: Vec<Rule>,
    /// What it may send.
    pub outbound: Vec<Rule>,
    /// The last certificates signed for the key that was asked for.
    pub certificate: Option<String>,
}

/// Where the certificates are.
#[derive(Debug, Clone, Copy)]
pub enum Pki<'a> {
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

impl Facts {
    /// The encodings its certificates are to have.
    pub fn versions(&self) -> Vec<Version> {
        let known = [(1, Version::V1), (2, Version::V2)];
        known
            .into_iter()
            .filter(|(number, _)| self.common.certificate_versions.contains(number))
            .map(|(_, one)| one)
            .collect()
    }

    /// What its certificates are to say.
    pub fn subject(&self, public_key: &PublicKey, lifetime: Duration) -> Subject {
        Subject {
            name: self.name.clone(),
            networks: self.networks.clone(),
            unsafe_networks: self.unsafe_networks.clone(),
            groups: self.groups.clone(),
            public_key: public_key.clone(),
            lifetime: self.lifetime_seconds.map_or(lifetime, Duration::from_secs),
            versions: self.versions(),
        }
    }

    /// Its address, the IPv4 one if it has two.
    pub fn address(&self) -> String {
        self.networks.first().map_or_else(String::new, |network| network.ip().to_string())
    }

    /// The UDP port it listens on; 0 lets the system choose, which suits a host.
    pub fn port(&self) -> u16 {
        let own = self.endpoints.first().and_then(|endpoint| endpoint.rsplit_once(':'));
        let own = own.and_then(|(_, port)| port.parse().ok());
        match self.role {
            Role::Host => own.unwrap_or(0),
            Role::Lighthouse | Role::Relay => own.unwrap_or(DEFAULT_PORT),
        }
    }

    /// Whether nobody can tell it where the others are.
    pub fn alone(&self) -> bool {
        self.role != Role::Lighthouse && !self.landmarks().any(|landmark| landmark.lighthouse)
    }

    /// The text of `nebula.yml`; `nebula` is the oldest that reads what the device gets.
    pub fn yaml(&self, nebula: &str, pki: Pki<'_>) -> String {
        let (name, role) = (&self.name, self.role.word());
        let mut text = format!("# nebula.yml of {name} ({role}), for nebula {nebula} and later.\n\npki:\n");
        match pki {
            Pki::Files => text.push_str(FILES),
            Pki::Inline { ca, certificate } => {
                // JSON strings, so that the lines of the PEM need no indentation to get right.
                line(&mut text, format_args!("  ca: {}\n  cert: {}", quoted(ca), quoted(certificate)));
            }
        }
        line(&mut text, format_args!("  disconnect_invalid: true\n  blocklist: [{}]", self.common.blocklist));
        self.places(&mut text);
        self.interface(&mut text);
        self.firewall(&mut text);
        text
    }

    /// Who is where: lighthouses and relays, and what this device is to others.
    fn places(&self, text: &mut String) {
        let known: Vec<_> = self.landmarks().filter(|landmark| !landmark.endpoints.is_empty()).collect();
        text.push_str(if known.is_empty() { "\nstatic_host_map: {}\n" } else { "\nstatic_host_map:\n" });
        for landmark in known {
            line(text, format_args!("  {}: [{}]", quoted(&landmark.ip), list(&landmark.endpoints)));
        }
        let lighthouse = self.role == Role::Lighthouse;
        // A lighthouse must not name lighthouses: it would ask them instead of answering.
        let hosts = self.ips(|landmark| landmark.lighthouse && !lighthouse);
        if self.alone() {
            text.push_str("\n# The project has no lighthouse yet; it is named here when it has one.");
        }
        line(
            text,
            format_args!(
                "\nlighthouse:\n  am_lighthouse: {lighthouse}\n  interval: 60\n  hosts: [{}]",
                list(&hosts)
            ),
        );
        if let Some(port) = self.common.dns_port.filter(|_| lighthouse) {
            line(text, format_args!("  serve_dns: true\n  dns:\n    host: \"::\"\n    port: {port}"));
        }
        line(text, format_args!("\nlisten:\n  host: \"::\"\n  port: {}", self.port()));
        let punchy = self.common.punchy;
        line(text, format_args!("\npunchy:\n  punch: {punchy}\n  respond: {}", punchy && !lighthouse));
        let relay = self.role == Role::Relay;
        // Relays through which others reach this device; only plain hosts are reached that way.
        let relays = self.ips(|landmark| !landmark.lighthouse && self.role == Role::Host);
        line(
            text,
            format_args!(
                "\nrelay:\n  am_relay: {relay}\n  use_relays: {}\n  relays: [{}]",
                self.role == Role::Host,
                list(&relays)
            ),
        );
    }

    fn interface(&self, text: &mut String) {
        line(text, format_args!("\ncipher: {}", quoted(&self.common.cipher)));
        line(text, format_args!("\ntun:\n  dev: nebula1\n  mtu: {}", self.common.mtu));
        let mut routes =
            self.common.routes.iter().filter(|route| route.device_id != self.device_id).peekable();
        text.push_str(if routes.peek().is_none() { "  unsafe_routes: []\n" } else { "  unsafe_routes:\n" });
        for Route { network, via, mtu, metric, .. } in routes {
            line(text, format_args!("    - route: {}\n      via: {}", quoted(network), quoted(via)));
            for (word, number) in [("mtu", mtu), ("metric", metric)] {
                if let Some(number) = number {
                    line(text, format_args!("      {word}: {number}"));
                }
            }
        }
        text.push_str("\nlogging:\n  level: info\n  format: text\n");
    }

    /// nebula drops what no rule lets through: an open project begins with a rule for anything.
    fn firewall(&self, text: &mut String) {
        let mut outbound: Vec<_> = self.common.outbound_open.then(|| Rule::all("any")).into_iter().collect();
        outbound.extend_from_slice(&self.outbound);
        let mut inbound = vec![Rule::all("icmp")];
        if self.common.inbound_open {
            inbound.push(Rule::all("any"));
            inbound.extend(self.unsafe_networks.iter().map(Rule::behind));
        }
        inbound.extend_from_slice(&self.inbound);
        text.push_str(CONNTRACK);
        text.push_str(&rule::block("outbound", &outbound));
        text.push_str(&rule::block("inbound", &inbound));
    }

    /// The landmarks of its project, itself excepted.
    fn landmarks(&self) -> impl Iterator<Item = &Landmark> {
        self.common.landmarks.iter().filter(|landmark| landmark.device_id != self.device_id)
    }

    fn ips(&self, wanted: impl Fn(&Landmark) -> bool) -> Vec<String> {
        self.landmarks().filter(|landmark| wanted(landmark)).map(|landmark| landmark.ip.clone()).collect()
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

/// A JSON string is a YAML string too, whatever somebody wrote into a row by hand.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    fn landmark(lighthouse: bool, ip: &str, endpoints: &[&str]) -> Landmark {
        let endpoints = endpoints.iter().map(ToString::to_string).collect();
        Landmark { device_id: Uuid::max(), lighthouse, ip: ip.into(), endpoints }
    }

    /// As the database writes it.
    fn common() -> Common {
        serde_json::from_value(json!({
            "version": 1, "projectId": Uuid::nil(), "project": "home", "cidr": "10.42.0.0/16", "certificateVersions": [1, 2],
            "mtu": 1300, "cipher": "aes", "punchy": true, "dnsPort": null, "inboundOpen": true, "outboundOpen": true,
            "landmarks": [], "blocklist": [], "routes": [], "trust": []
        }))
        .unwrap()
    }

    pub(crate) fn facts(role: Role, endpoints: &[&str]) -> Facts {
        Facts {
            common: Arc::new(common()),
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
        }
    }

    fn yaml(role: Role, endpoints: &[&str], landmarks: &[Landmark]) -> String {
        let common = Arc::new(Common { landmarks: landmarks.to_vec(), ..common() });
        Facts { common, ..facts(role, endpoints) }.yaml("1.6", Pki::Files)
    }

    #[test]
    fn a_host_asks_every_lighthouse_and_uses_every_relay() {
        let text = yaml(
            Role::Host,
            &[],
            &[
                landmark(true, "10.42.0.1", &["192.0.2.10:4242", "lh.example.net:4242"]),
                landmark(false, "10.42.0.2", &[]),
                landmark(true, "10.42.0.3", &["[2001:db8::1]:4242"]),
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
            &[landmark(true, "10.42.0.3", &["192.0.2.11:4242"])],
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
    fn a_relay_relays_and_listens_on_a_known_port() {
        let text = yaml(Role::Relay, &[], &[landmark(true, "10.42.0.1", &["192.0.2.10:4242"])]);
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
    fn nobody_is_told_of_itself() {
        let itself = |mut landmark: Landmark| {
            landmark.device_id = Uuid::nil();
            landmark
        };
        let others = landmark(true, "10.42.0.3", &["192.0.2.11:4242"]);
        let own = itself(landmark(true, "10.42.0.7", &["192.0.2.10:4242"]));
        let route = |device_id, network: &str| Route {
            device_id,
            network: network.into(),
            via: "10.42.0.7".into(),
            mtu: None,
            metric: None,
        };
        let routes = vec![route(Uuid::nil(), "192.168.7.0/24"), route(Uuid::max(), "192.168.8.0/24")];
        let common = Arc::new(Common { landmarks: vec![own, others], routes, ..common() });
        let text = Facts { common, ..facts(Role::Relay, &[]) }.yaml("1.6", Pki::Files);
        assert!(text.contains("10.42.0.3") && text.contains("192.168.8.0/24"), "{text}");
        assert!(!text.contains("192.0.2.10:4242") && !text.contains("192.168.7.0/24"), "{text}");
    }

    #[test]
    fn what_somebody_wrote_by_hand_cannot_change_the_file() {
        let text = yaml(Role::Host, &[], &[landmark(true, "10.42.0.1", &["x\"]\nfirewall: {}\n#:1"])]);
        assert_eq!(text.matches("\nfirewall:").count(), 1, "{text}");
    }

    #[test]
    fn a_closed_project_lets_through_what_its_rules_say() {
        let rules = json!([
            { "protocol": "tcp", "portFirst": 443, "portLast": null, "groups": ["web", "eu"], "cidr": null, "host": null, "local": null },
            { "protocol": "udp", "portFirst": 5000, "portLast": 5010, "groups": [], "cidr": "10.42.1.0/24", "host": null, "local": null },
            { "protocol": "any", "portFirst": null, "portLast": null, "groups": [], "cidr": null, "host": "nas", "local": "192.168.1.0/24" }
        ]);
        let closed = Facts {
            common: Arc::new(Common { inbound_open: false, outbound_open: false, ..common() }),
            inbound: serde_json::from_value(rules).unwrap(),
            unsafe_networks: vec!["192.168.1.0/24".parse().unwrap()],
            ..facts(Role::Host, &[])
        };
        let text = closed.yaml("1.6", Pki::Files);
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
        let text = facts(Role::Host, &[]).yaml("1.6", Pki::Inline { ca: "A\nB\n", certificate: "C\n" });
        assert!(text.contains("pki:\n  ca: \"A\\nB\\n\"\n  cert: \"C\\n\"\n"), "{text}");
        assert!(!text.contains("key:"), "{text}");
    }
}
