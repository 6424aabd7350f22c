//! Processing of `nebula.yml` between gateway and nebula: inserts what only this machine knows, such as the
//! path of the private key. Does no input or output.

use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use nebula_certificate::Certificate;
use serde_json::{Map, Value};

use crate::error::{Code, Error, Result};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config(Map<String, Value>);

impl Config {
    /// Parses YAML.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(Code::Protocol, format!("the configuration from the gateway cannot be used: {why}"))
        };
        let value: Value = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
        match value {
            Value::Object(map) if map.get("pki").is_some_and(Value::is_object) => Ok(Self(map)),
            _ => Err(wrong("it has no section \"pki\"".to_owned())),
        }
    }

    /// Sets the path of nebula's private key.
    pub(crate) fn set_key(&mut self, path: &Path) {
        self.set("pki", "key", &path.to_string_lossy());
    }

    /// Makes nebula log in JSON at level info: the agent reads tunnels from the log.
    pub(crate) fn set_logging(&mut self) {
        self.set("logging", "format", "json");
        self.set("logging", "level", "info");
    }

    pub(crate) fn set_interface(&mut self, name: &str) {
        self.set("tun", "dev", name);
    }

    /// Replaces the wildcard of IPv6, which stands for both families, by that of IPv4.
    pub(super) fn listen_without_ipv6(&mut self) {
        for path in [&["listen", "host"][..], &["lighthouse", "dns", "host"]] {
            let (name, sections) = path.split_last().expect("no path is empty");
            let mut sections = sections.iter();
            let first = sections.next().and_then(|section| self.0.get_mut(*section));
            let found = sections.fold(first, |value, section| value?.get_mut(*section));
            let host = found.and_then(|section| section.get_mut(*name));
            if let Some(host) = host.filter(|host| host.as_str().is_some_and(is_ipv6_wildcard)) {
                *host = "0.0.0.0".into();
            }
        }
    }

    /// Takes out certificates with IPv6 addresses. Fails when none is left.
    pub(super) fn leave_out_ipv6(&mut self) -> Result<()> {
        let all = self.certificates().unwrap_or_default();
        let has_ipv6 = |one: &&Certificate| one.details().networks.iter().any(IpNetwork::is_ipv6);
        let (without, with): (Vec<&Certificate>, Vec<_>) = all.iter().partition(|one| !has_ipv6(one));
        if with.is_empty() {
            return Ok(());
        }
        if without.is_empty() {
            return Err(Error::new(
                Code::WrongState,
                "this device has an IPv6 address in the overlay, and IPv6 is switched off on this machine",
            )
            .hint(
                "Switch it on for new interfaces: sysctl -w net.ipv6.conf.default.disable_ipv6=0; a device with an IPv4 \
                 address can do without after nebulactl project options certificateVersions=1,2",
            ));
        }
        let text: String = without.into_iter().map(Certificate::pem).collect();
        self.set("pki", "cert", &text);
        Ok(())
    }

    /// Whether networks outside the overlay are reached through it.
    pub(super) fn has_routes(&self) -> bool {
        !self.routes().is_empty()
    }

    /// The networks outside the overlay that are reached through it.
    pub(super) fn routes(&self) -> Vec<(IpNetwork, &Value)> {
        let routes = self.at(&["tun", "unsafe_routes"]).and_then(Value::as_array);
        let network = |route: &Value| route["route"].as_str()?.parse().ok();
        routes.into_iter().flatten().filter_map(|route| Some((network(route)?, route))).collect()
    }

    /// Takes over the routes of another configuration.
    pub(super) fn take_routes(&mut self, other: &Self) {
        let routes = other.at(&["tun", "unsafe_routes"]).cloned();
        let Some(tun) = self.0.get_mut("tun").and_then(Value::as_object_mut) else { return };
        match routes {
            Some(routes) => drop(tun.insert("unsafe_routes".to_owned(), routes)),
            None => drop(tun.remove("unsafe_routes")),
        }
    }

    /// Where lighthouses and relays are reached, as `host:port`.
    pub(super) fn endpoints(&self) -> Vec<String> {
        let hosts = self.0.get("static_host_map").and_then(Value::as_object);
        let lists = hosts.into_iter().flat_map(Map::values).filter_map(Value::as_array);
        lists.flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Takes out routes that would lead packets for these addresses into the overlay that they build.
    pub(super) fn keep_way_to(&mut self, underlay: &[IpAddr]) {
        let leads_away = |route: &Value| {
            let network: Option<IpNetwork> = route["route"].as_str().and_then(|text| text.parse().ok());
            network.is_some_and(|network| underlay.iter().any(|address| network.contains(*address)))
        };
        if let Some(routes) = self.0.get_mut("tun").and_then(|tun| tun["unsafe_routes"].as_array_mut()) {
            routes.retain(|route| !leads_away(route));
        }
    }

    /// Takes over the list of blocked certificates from another configuration.
    pub(super) fn take_blocklist(&mut self, other: &Self) {
        let blocklist = other.at(&["pki", "blocklist"]).cloned();
        let Some(pki) = self.0.get_mut("pki").and_then(Value::as_object_mut) else { return };
        match blocklist {
            Some(blocklist) => drop(pki.insert("blocklist".to_owned(), blocklist)),
            None => drop(pki.remove("blocklist")),
        }
    }

    fn set(&mut self, section: &str, name: &str, value: &str) {
        let section = self.0.entry(section).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(section) = section {
            section.insert(name.to_owned(), value.into());
        }
    }

    /// The text for nebula, in JSON, which is also YAML. In plain YAML the parsers of some releases read
    /// certain words as numbers or booleans.
    pub(crate) fn render(&self) -> String {
        let text = serde_json::to_string_pretty(&self.0).expect("a map of strings to JSON is JSON");
        format!("# Written by nebulactl from what the gateway said; the next answer replaces it.\n{text}\n")
    }

    pub(crate) fn certificates(&self) -> Result<Vec<Certificate>> {
        self.pem("cert")
    }

    pub(crate) fn authorities(&self) -> Result<Vec<Certificate>> {
        self.pem("ca")
    }

    fn pem(&self, name: &str) -> Result<Vec<Certificate>> {
        let text = self.at(&["pki", name]).and_then(Value::as_str).unwrap_or_default();
        Certificate::parse(text).map_err(|error| {
            Error::new(Code::Protocol, format!("pki.{name} in the configuration cannot be read: {error}"))
        })
    }

    pub(crate) fn interface(&self) -> &str {
        self.at(&["tun", "dev"]).and_then(Value::as_str).unwrap_or("nebula1")
    }

    /// Whether other devices ask this one for addresses.
    pub(crate) fn is_lighthouse(&self) -> bool {
        self.at(&["lighthouse", "am_lighthouse"]).and_then(Value::as_bool) == Some(true)
    }

    /// Endpoints of the lighthouses that the device asks.
    pub(crate) fn lighthouses(&self) -> Vec<String> {
        let hosts = self.at(&["lighthouse", "hosts"]).and_then(Value::as_array);
        let hosts = hosts.into_iter().flatten().filter_map(Value::as_str);
        let endpoints = hosts.filter_map(|host| self.at(&["static_host_map", host])?.as_array());
        endpoints.flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub(super) fn sections(&self) -> &Map<String, Value> {
        &self.0
    }

    fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, name| value.get(name))
    }
}

/// Whether a host in a configuration means all addresses of both families.
fn is_ipv6_wildcard(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() && address.is_unspecified())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, SystemTime};

    use nebula_certificate::{CertificateAuthority, Curve, IssueRequest, KeyPair, NewAuthority, Version};

    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    pub(crate) fn config(network: &str, groups: &[&str], rest: &str) -> Config {
        made(&[network], groups, &[Version::V1, Version::V2], rest)
    }

    /// A configuration with these networks and versions of certificates.
    pub(crate) fn config_in(networks: &[&str], versions: &[Version]) -> Config {
        made(networks, &[], versions, "")
    }

    fn made(networks: &[&str], groups: &[&str], versions: &[Version], rest: &str) -> Config {
        let networks: Vec<_> = networks.iter().map(|network| network.parse().unwrap()).collect();
        let now = SystemTime::now();
        let ca = CertificateAuthority::create(&NewAuthority::new("home", YEAR), now).unwrap();
        let key = KeyPair::generate(Curve::Curve25519).unwrap();
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        let request = IssueRequest {
            name: "laptop",
            networks: &networks,
            unsafe_networks: &[],
            groups: &groups,
            public_key: key.public_key(),
            lifetime: YEAR / 2,
            versions,
        };
        let issued = ca.issue(&request, now).unwrap();
        let indented = |text: &str| text.replace('\n', "\n    ");
        let certificates: String = issued.iter().map(|one| one.pem.as_str()).collect();
        let text = format!(
            "pki:\n  ca: |\n    {}\n  cert: |\n    {}\n{rest}",
            indented(&ca.pem()),
            indented(&certificates)
        );
        let mut config = Config::parse(&text).unwrap();
        config.set_key(Path::new("/etc/nebula/node.key"));
        config
    }

    /// Configurations of the same device with these sections.
    pub(crate) fn with_sections(texts: [&str; 2]) -> [Config; 2] {
        let pki = config("10.42.0.5/16", &[], "").0["pki"].clone();
        texts.map(|text| {
            let mut config = Config::parse(&format!("pki: {{}}\n{text}")).unwrap();
            config.0.insert("pki".to_owned(), pki.clone());
            config
        })
    }

    #[test]
    fn a_rendered_configuration_parses_to_the_same() {
        let mut config = config(
            "10.42.0.5/16",
            &[],
            "logging: {level: warn}\nfirewall: {conntrack: {tcp_timeout: 12m}}\nstatic_host_map: {\"10.42.0.1\": [\"192.0.2.1:4242\"]}\nanswer: \"yes\"\n",
        );
        config.set_logging();
        let text = config.render();
        let again = Config::parse(&text).unwrap();
        assert_eq!(again, config);
        assert_eq!(again.0["answer"], "yes");
        assert_eq!((again.certificates().unwrap().len(), again.authorities().unwrap().len()), (2, 1));
        assert!(text.contains("/etc/nebula/node.key") && text.contains("\"format\": \"json\""), "{text}");
        assert_eq!(again.interface(), "nebula1");
    }

    #[test]
    fn no_route_leads_packets_for_the_gateway_into_the_overlay() {
        let routes = "tun: {unsafe_routes: [{route: 192.0.2.0/24}, {route: 192.168.7.0/24}]}";
        let mut config = config("10.42.0.5/16", &[], routes);
        config.keep_way_to(&["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]);
        assert_eq!(config.0["tun"].to_string(), r#"{"unsafe_routes":[{"route":"192.168.7.0/24"}]}"#);
    }

    #[test]
    fn a_blocklist_is_taken_from_another_configuration_or_removed_with_it() {
        let [mut old, new] = ["pki: {ca: a}\n", "pki: {ca: b, blocklist: [c0ffee]}\n"]
            .map(|text| Config::parse(text).unwrap());
        let before = old.clone();
        old.take_blocklist(&new);
        assert_eq!(old.0["pki"].to_string(), r#"{"blocklist":["c0ffee"],"ca":"a"}"#);
        old.take_blocklist(&before);
        assert_eq!(old, before);
    }

    #[test]
    fn malformed_configurations_are_refused() {
        for wrong in ["", "pki: 1", "[]", "a: b: c", "tun: {}"] {
            assert!(Config::parse(wrong).is_err(), "{wrong}");
        }
    }
}
