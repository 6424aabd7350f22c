//! `nebula.yml`: the configuration a device starts with. Pure: facts in, text out.
//!
//! The text is valid for nebula 1.6 and 1.11 alike. File names in it are relative, so that the bundle runs where it was
//! unpacked. Lighthouse, relay and host differ in four blocks only.

use std::fmt::Write;

use crate::database::device::Landmark;

/// The port nebula is known for; a device without an endpoint of its own and with a fixed place uses it.
const DEFAULT_PORT: u16 = 4242;

/// What a device is in the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// The facts of one device.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is.
    pub role: Role,
    /// The oldest nebula that can read its certificates.
    pub nebula: &'a str,
    /// `host:port` where others reach it; the port of the first is the one it listens on.
    pub endpoints: &'a [String],
    /// The other lighthouses and relays of its project, without itself.
    pub landmarks: &'a [Landmark],
}

impl Facts<'_> {
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
        self.role != Role::Lighthouse && !self.landmarks.iter().any(|landmark| landmark.lighthouse)
    }

    /// The text of `nebula.yml`.
    pub fn yaml(&self) -> String {
        let mut text = format!(
            "# nebula.yml of {} ({}), for nebula {} and later.\n",
            self.name,
            self.role.word(),
            self.nebula
        );
        text.push_str(PKI);
        let known: Vec<_> = self.landmarks.iter().filter(|landmark| !landmark.endpoints.is_empty()).collect();
        text.push_str(if known.is_empty() { "\nstatic_host_map: {}\n" } else { "\nstatic_host_map:\n" });
        for landmark in known {
            line(&mut text, format_args!("  {}: [{}]", quoted(&landmark.ip), list(&landmark.endpoints)));
        }
        let lighthouse = self.role == Role::Lighthouse;
        // A lighthouse must not name lighthouses: it would ask them instead of answering.
        let hosts = self.ips(|landmark| landmark.lighthouse && !lighthouse);
        if self.alone() {
            text.push_str("\n# The project has no lighthouse yet; register again when it has one.");
        }
        line(
            &mut text,
            format_args!(
                "\nlighthouse:\n  am_lighthouse: {lighthouse}\n  interval: 60\n  hosts: [{}]",
                list(&hosts)
            ),
        );
        line(&mut text, format_args!("\nlisten:\n  host: \"::\"\n  port: {}", self.port()));
        line(&mut text, format_args!("\npunchy:\n  punch: true\n  respond: {}", !lighthouse));
        let relay = self.role == Role::Relay;
        // Relays through which others reach this device; only plain hosts are reached that way.
        let relays = self.ips(|landmark| !landmark.lighthouse && self.role == Role::Host);
        line(
            &mut text,
            format_args!(
                "\nrelay:\n  am_relay: {relay}\n  use_relays: {}\n  relays: [{}]",
                self.role == Role::Host,
                list(&relays)
            ),
        );
        text.push_str(REST);
        text
    }

    fn ips(&self, wanted: impl Fn(&Landmark) -> bool) -> Vec<String> {
        self.landmarks
            .iter()
            .filter(|landmark| wanted(landmark))
            .map(|landmark| landmark.ip.clone())
            .collect()
    }
}

const PKI: &str = "
pki:
  ca: ca.crt
  cert: node.crt
  key: node.key # made on this device, and never leaves it
  disconnect_invalid: true
";

const REST: &str = r#"
tun:
  dev: nebula1
  mtu: 1300

logging:
  level: info
  format: text

# Only members of this network get this far; tell them apart by name (host), or by groups.
firewall:
  conntrack:
    tcp_timeout: 12m
    udp_timeout: 3m
    default_timeout: 10m
  outbound:
    - port: any
      proto: any
      host: any
  inbound:
    - port: any
      proto: icmp
      host: any
    - port: any
      proto: any
      host: any
"#;

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
mod tests {
    use uuid::Uuid;

    use super::*;

    fn landmark(lighthouse: bool, ip: &str, endpoints: &[&str]) -> Landmark {
        let endpoints = endpoints.iter().map(ToString::to_string).collect();
        Landmark { device_id: Uuid::nil(), lighthouse, ip: ip.into(), endpoints }
    }

    fn yaml(role: Role, endpoints: &[&str], landmarks: &[Landmark]) -> String {
        let endpoints: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
        Facts { name: "laptop", role, nebula: "1.6", endpoints: &endpoints, landmarks }.yaml()
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
    fn what_somebody_wrote_by_hand_cannot_change_the_file() {
        let text = yaml(Role::Host, &[], &[landmark(true, "10.42.0.1", &["x\"]\nfirewall: {}\n#:1"])]);
        assert_eq!(text.matches("\nfirewall:").count(), 1, "{text}");
    }
}
