//! Processing of `nebula.yml` between gateway and nebula: inserts the private key's path, and derives from
//! the difference to the previous configuration whether a reload is enough. Does no input or output.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;
use nebula_certificate::{Certificate, Version};
use serde_json::{Map, Value};

use crate::error::{Code, Error, Result};

/// How nebula can take over a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// The configurations are equal.
    None,
    /// By SIGHUP.
    Reload,
    /// By a new process.
    Restart,
}

/// A release of nebula. Newer releases reload more options on SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release(pub(crate) u32, pub(crate) u32);

impl Release {
    /// Parses `1.11.0`, also after `Version: ` or before a suffix.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().rsplit(' ').next()?.trim_start_matches('v').split('.');
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// Options that SIGHUP reloads, with the first release that does so (from nebula's source). All others, known
/// or not, need a restart, which is always correct.
const RELOADED: &[(&str, Release)] = &[
    ("pki", Release(1, 6)),
    ("pki.disconnect_invalid", Release(1, 8)),
    ("static_host_map", Release(1, 6)),
    ("static_map", Release(1, 7)),
    ("lighthouse.hosts", Release(1, 6)),
    ("lighthouse.advertise_addrs", Release(1, 6)),
    ("lighthouse.remote_allow_list", Release(1, 6)),
    ("lighthouse.remote_allow_ranges", Release(1, 6)),
    ("lighthouse.local_allow_list", Release(1, 6)),
    ("lighthouse.calculated_remotes", Release(1, 7)),
    // Release 1.6 does not return from the callback that restarts the timer.
    ("lighthouse.interval", Release(1, 7)),
    ("lighthouse.dns", Release(1, 11)),
    ("lighthouse.serve_dns", Release(1, 11)),
    ("relay.relays", Release(1, 6)),
    ("relay.am_relay", Release(1, 6)),
    ("relay.use_relays", Release(1, 7)),
    ("firewall", Release(1, 6)),
    ("punchy", Release(1, 6)),
    ("punchy.punch", Release(1, 11)),
    ("preferred_ranges", Release(1, 9)),
    ("tun.unsafe_routes", Release(1, 9)),
    ("tun.routes", Release(1, 9)),
    ("tun.mtu", Release(1, 9)),
    ("tunnels", Release(1, 10)),
    ("logging", Release(1, 6)),
    ("sshd", Release(1, 6)),
    ("stats", Release(1, 11)),
    ("listen.send_recv_error", Release(1, 6)),
    ("listen.read_buffer", Release(1, 6)),
    ("listen.write_buffer", Release(1, 6)),
];

/// One configuration.
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

    /// Whether networks outside the overlay are reached through it.
    pub(super) fn has_routes(&self) -> bool {
        self.at(&["tun", "unsafe_routes"]).and_then(Value::as_array).is_some_and(|all| !all.is_empty())
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

    fn at(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(*first)?, |value, name| value.get(name))
    }

    /// How a nebula of this release that runs `self` can take over `next`.
    pub(crate) fn change(&self, next: &Self, release: Release) -> Change {
        let mut paths = Vec::new();
        let (old, new) = (Value::Object(self.0.clone()), Value::Object(next.0.clone()));
        differences(String::new(), Some(&old), Some(&new), &mut paths);
        if paths.is_empty() {
            return Change::None;
        }
        let reloads = paths.iter().all(|path| reloaded(path, release));
        if reloads && self.same_place(next, release) { Change::Reload } else { Change::Restart }
    }

    /// Whether a running nebula can take over the new certificates.
    fn same_place(&self, next: &Self, release: Release) -> bool {
        let (Ok(old), Ok(new)) = (self.certificates(), next.certificates()) else { return false };
        let places = |certificates: &[Certificate]| -> BTreeMap<Version, _> {
            let place = |certificate: &Certificate| {
                let details = certificate.details();
                let unsafe_networks =
                    if release < Release(1, 11) { details.unsafe_networks.clone() } else { Vec::new() };
                // Before 1.7 tunnels are not renewed, so that peers would not see a new name or new groups.
                let seen = (release < Release(1, 7)).then(|| (details.name.clone(), details.groups.clone()));
                (
                    details.version,
                    (details.networks.clone(), details.curve.to_string(), unsafe_networks, seen),
                )
            };
            certificates.iter().map(place).collect()
        };
        places(&old) == places(&new)
    }
}

/// Whether SIGHUP reloads this option; the longest entry that covers the path decides.
fn reloaded(path: &str, release: Release) -> bool {
    let covers =
        |entry: &str| path.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let entry = RELOADED.iter().filter(|(entry, _)| covers(entry)).max_by_key(|(entry, _)| entry.len());
    // In release 1.7 the reload of a changed static_host_map hangs.
    let hangs = path.starts_with("static_host_map") && release == Release(1, 7);
    entry.is_some_and(|(_, since)| release >= *since) && !hangs
}

/// Collects the dotted paths of all differences; lists are compared as a whole.
fn differences(path: String, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<String>) {
    if old == new {
        return;
    }
    let empty = Map::new();
    let (old_map, new_map) = match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => (old, new),
        (Some(Value::Object(old)), None) => (old, &empty),
        (None, Some(Value::Object(new))) => (&empty, new),
        _ => return found.push(path),
    };
    let added = new_map.keys().filter(|name| !old_map.contains_key(*name));
    for name in old_map.keys().chain(added) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        differences(path, old_map.get(name), new_map.get(name), found);
    }
}

/// Whether a host in a configuration means all addresses of both families.
fn is_ipv6_wildcard(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() && address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use nebula_certificate::{CertificateAuthority, Curve, IssueRequest, KeyPair, NewAuthority};

    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    const OLD: Release = Release(1, 6);
    const NEW: Release = Release(1, 11);

    fn config(network: &str, groups: &[&str], rest: &str) -> Config {
        let now = SystemTime::now();
        let ca = CertificateAuthority::create(&NewAuthority::new("home", YEAR), now).unwrap();
        let key = KeyPair::generate(Curve::Curve25519).unwrap();
        let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        let request = IssueRequest {
            name: "laptop",
            networks: &[network.parse().unwrap()],
            unsafe_networks: &[],
            groups: &groups,
            public_key: key.public_key(),
            lifetime: YEAR / 2,
            versions: &[Version::V1, Version::V2],
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

    fn change(old: &str, new: &str, release: Release) -> Change {
        let parse = |text: &str| Config::parse(&format!("pki: {{}}\n{text}")).unwrap();
        let (mut old, mut new) = (parse(old), parse(new));
        let pki = config("10.42.0.5/16", &[], "").0["pki"].clone();
        old.0.insert("pki".to_owned(), pki.clone());
        new.0.insert("pki".to_owned(), pki);
        old.change(&new, release)
    }

    #[test]
    fn only_options_that_the_release_reloads_avoid_a_restart() {
        for (old, new, in_1_6, in_1_11) in [
            ("a: 1", "a: 1", Change::None, Change::None),
            (
                "static_host_map: {}",
                "static_host_map: {\"10.42.0.1\": [\"a:1\"]}",
                Change::Reload,
                Change::Reload,
            ),
            (
                "lighthouse: {hosts: []}",
                "lighthouse: {hosts: [\"10.42.0.1\"]}",
                Change::Reload,
                Change::Reload,
            ),
            ("lighthouse: {interval: 60}", "lighthouse: {interval: 10}", Change::Restart, Change::Reload),
            (
                "lighthouse: {am_lighthouse: false}",
                "lighthouse: {am_lighthouse: true}",
                Change::Restart,
                Change::Restart,
            ),
            ("firewall: {inbound: []}", "firewall: {inbound: [{port: any}]}", Change::Reload, Change::Reload),
            ("tun: {mtu: 1300}", "tun: {mtu: 1280}", Change::Restart, Change::Reload),
            ("tun: {dev: a}", "tun: {dev: b}", Change::Restart, Change::Restart),
            ("listen: {port: 0}", "listen: {port: 4242}", Change::Restart, Change::Restart),
            ("", "cipher: chachapoly", Change::Restart, Change::Restart),
            ("", "stats: {type: prometheus}", Change::Restart, Change::Reload),
            ("", "of_tomorrow: 1", Change::Restart, Change::Restart),
            ("punchy: {punch: true, respond: true}", "punchy: {punch: true}", Change::Reload, Change::Reload),
            ("punchy: {punch: true}", "punchy: {punch: false}", Change::Restart, Change::Reload),
            (
                "tunnels: {a: 1}\ntun: {dev: a}",
                "tunnels: {a: 2}\ntun: {dev: b}",
                Change::Restart,
                Change::Restart,
            ),
        ] {
            assert_eq!(change(old, new, OLD), in_1_6, "1.6: {old} -> {new}");
            assert_eq!(change(old, new, NEW), in_1_11, "1.11: {old} -> {new}");
        }
        assert_eq!(
            change("static_host_map: {}", "static_host_map: {\"a\": [b]}", Release(1, 7)),
            Change::Restart
        );
    }

    #[test]
    fn a_certificate_for_another_address_needs_a_restart() {
        let old = config("10.42.0.5/16", &["web"], "");
        for (network, groups, in_1_6, in_1_11) in [
            ("10.42.0.5/16", &["web"], Change::Reload, Change::Reload),
            ("10.42.0.6/16", &["web"], Change::Restart, Change::Restart),
            ("10.42.0.5/16", &["db"], Change::Restart, Change::Reload),
        ] {
            let new = config(network, groups, "");
            assert_eq!(
                (old.change(&new, OLD), old.change(&new, NEW)),
                (in_1_6, in_1_11),
                "{network} {groups:?}"
            );
        }
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
    fn malformed_configurations_are_refused() {
        for wrong in ["", "pki: 1", "[]", "a: b: c", "tun: {}"] {
            assert!(Config::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn releases_are_parsed_from_version_output() {
        for (text, release) in [("Version: 1.6.1", OLD), ("1.11.0\n", NEW), ("v1.11.0-3-gabc", NEW)] {
            assert_eq!(Release::parse(text), Some(release), "{text}");
        }
        assert_eq!(Release::parse("unknown"), None);
    }
}
