//! How a nebula that runs one configuration can take over another: by SIGHUP, or by a new process.

use std::collections::BTreeMap;

use nebula_certificate::{Certificate, Version};
use serde_json::{Map, Value};

use super::config::Config;

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

/// How a nebula of this release that runs `old` can take over `new`.
pub(crate) fn required_change(old: &Config, new: &Config, release: Release) -> Change {
    let mut paths = Vec::new();
    let (before, after) = (Value::Object(old.sections().clone()), Value::Object(new.sections().clone()));
    differences(String::new(), Some(&before), Some(&after), &mut paths);
    if paths.is_empty() {
        return Change::None;
    }
    let reloads = paths.iter().all(|path| reloaded(path, release));
    if reloads && same_place(old, new, release) { Change::Reload } else { Change::Restart }
}

/// Whether a running nebula can take over the new certificates.
fn same_place(old: &Config, new: &Config, release: Release) -> bool {
    let (Ok(old), Ok(new)) = (old.certificates(), new.certificates()) else { return false };
    let places = |certificates: &[Certificate]| -> BTreeMap<Version, _> {
        let place = |certificate: &Certificate| {
            let details = certificate.details();
            let unsafe_networks =
                if release < Release(1, 11) { details.unsafe_networks.clone() } else { Vec::new() };
            // Before 1.7 tunnels are not renewed, so that peers would not see a new name or new groups.
            let seen = (release < Release(1, 7)).then(|| (details.name.clone(), details.groups.clone()));
            (details.version, (details.networks.clone(), details.curve.to_string(), unsafe_networks, seen))
        };
        certificates.iter().map(place).collect()
    };
    places(&old) == places(&new)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::tests::{config, with_sections};

    const OLD: Release = Release(1, 6);
    const NEW: Release = Release(1, 11);

    fn change(old: &str, new: &str, release: Release) -> Change {
        let [old, new] = with_sections([old, new]);
        required_change(&old, &new, release)
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
                (required_change(&old, &new, OLD), required_change(&old, &new, NEW)),
                (in_1_6, in_1_11),
                "{network} {groups:?}"
            );
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
