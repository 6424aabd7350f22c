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
        "  am_lighthouse: false\n  interval: 10\n  hosts: [\"10.42.0.1\", \"10.42.0.3\"]\n",
        "  am_relay: false\n  use_relays: true\n  relays: [\"10.42.0.2\"]\n",
        "  port: 0\n",
    ] {
        assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
    }
    assert!(!text.contains("no lighthouse yet"));
}

#[test]
fn a_lighthouse_names_no_lighthouse_but_knows_where_they_are() {
    let text =
        yaml(Role::Lighthouse, &["192.0.2.10:5000"], &[static_host(true, "10.42.0.3", &["192.0.2.11:4242"])]);
    for wanted in [
        "  \"10.42.0.3\": [\"192.0.2.11:4242\"]\n",
        "am_lighthouse: true\n  interval: 10\n  hosts: []\n",
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
    for wanted in
        ["am_relay: true\n  use_relays: false\n  relays: []\n", "port: 4242\n", "hosts: [\"10.42.0.1\"]\n"]
    {
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
    let text =
        device_config(Role::Host, &[]).yaml("1.6", PkiSource::Inline { ca: "A\nB\n", certificate: "C\n" });
    assert!(text.contains("pki:\n  ca: \"A\\nB\\n\"\n  cert: \"C\\n\"\n"), "{text}");
    assert!(!text.contains("key:"), "{text}");
}
