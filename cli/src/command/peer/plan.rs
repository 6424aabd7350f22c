//! Decides what `peer import` creates from a `wg0.conf`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nebula_api::peer::Peer;
use serde::Serialize;

use super::key::parse_public_key;
use super::server_conf::{PresharedKey, Problem, ServerConf, ServerPeer};

/// The peers to create, and the lines that are left out.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    pub(super) peers: Vec<PlannedPeer>,
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlannedPeer {
    /// Line of its `[Peer]`.
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) public_key: String,
    /// The next free one when absent.
    pub(super) address: Option<IpAddr>,
    /// Whether it has a preshared key.
    pub(super) preshared: bool,
    /// Its preshared key in the file, which it keeps.
    #[serde(skip)]
    pub(super) preshared_key: Option<PresharedKey>,
    pub(super) disabled: bool,
}

/// `pools` are the networks that addresses can be kept from; without them every address is tried.
pub(super) fn plan(conf: ServerConf, known: &[Peer], pools: Option<&[IpNetwork]>) -> Plan {
    let owners = owners(&conf.peers);
    let mut names: BTreeSet<String> = known.iter().map(|peer| peer.name.clone()).collect();
    let mut keys: BTreeMap<&str, String> = known
        .iter()
        .map(|peer| (peer.public_key.as_str(), format!("peer \"{}\" of the project", peer.name)))
        .collect();
    let mut plan = Plan { peers: Vec::new(), problems: conf.problems };
    for peer in &conf.peers {
        let mut problem = |text: String| plan.problems.push(Problem { line: peer.line, text });
        let Some(key) = peer.public_key.as_deref().filter(|key| parse_public_key(key).is_ok()) else {
            problem("has no valid PublicKey: left out".to_owned());
            continue;
        };
        if peer.preshared_key.as_ref().is_some_and(|key| parse_public_key(key.text()).is_err()) {
            problem("has no valid PresharedKey: left out".to_owned());
            continue;
        }
        if let Some(other) = keys.insert(key, format!("the peer of line {}", peer.line)) {
            problem(format!("has the key of {other}: left out"));
            keys.insert(key, other);
            continue;
        }
        let address = peer.addresses.first().copied();
        for left in peer.addresses.iter().skip(1) {
            problem(format!("has {left} besides: a new address takes its place"));
        }
        let address = address.filter(|address| {
            let (owner, inside) = (owners[address], pools.is_none_or(|pools| contains(pools, *address)));
            if owner != peer.line {
                problem(format!("has {address}, which line {owner} has as well and WireGuard gives to that one: gets another"));
            } else if !inside {
                problem(format!("has {address}, which is in no pool of these nodes: gets another"));
            }
            owner == peer.line && inside
        });
        let name = unique(&mut names, &name(peer));
        let (public_key, preshared_key) = (key.to_owned(), peer.preshared_key.clone());
        let (line, preshared, disabled) = (peer.line, preshared_key.is_some(), peer.disabled);
        plan.peers.push(PlannedPeer { line, name, public_key, address, preshared, preshared_key, disabled });
    }
    plan.problems.sort_by_key(|problem| problem.line);
    plan
}

/// The line of the peer that WireGuard gives each address to: the last one that lists it.
fn owners(peers: &[ServerPeer]) -> BTreeMap<IpAddr, usize> {
    peers.iter().flat_map(|peer| peer.addresses.iter().map(|address| (*address, peer.line))).collect()
}

fn contains(pools: &[IpNetwork], address: IpAddr) -> bool {
    pools.iter().any(|pool| pool.contains(address))
}

/// Longest name that is taken over, so that a number fits behind it.
const MAX_NAME: usize = 58;

/// The name in the file, with dashes for what no name may have, or one made from the address.
fn name(peer: &ServerPeer) -> String {
    let allowed = |c: char| c.is_alphanumeric() || " ._-".contains(c);
    let plain = |text: &str| -> String {
        let dashed: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
        let begun = dashed.trim_start_matches(|c: char| !c.is_alphanumeric());
        begun.chars().take(MAX_NAME).collect::<String>().trim_end_matches([' ', '-']).to_owned()
    };
    let named = peer.name.as_deref().map(plain).filter(|name| !name.is_empty());
    named.unwrap_or_else(|| match peer.addresses.first() {
        Some(address) => format!("peer-{address}"),
        None => format!("peer-line-{}", peer.line),
    })
}

fn unique(names: &mut BTreeSet<String>, name: &str) -> String {
    let candidates = std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}-{number}")));
    for candidate in candidates {
        if names.insert(candidate.clone()) {
            return candidate;
        }
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::server_conf::parse;
    use super::*;

    /// The key of 32 bytes of this value.
    fn key(byte: u8) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode([byte; 32])
    }

    fn planned(text: &str, pools: Option<&[&str]>) -> Plan {
        let pools: Option<Vec<IpNetwork>> =
            pools.map(|pools| pools.iter().map(|pool| pool.parse().unwrap()).collect());
        plan(parse(text), &[], pools.as_deref())
    }

    fn addresses(plan: &Plan) -> Vec<String> {
        plan.peers
            .iter()
            .map(|peer| peer.address.map_or_else(|| "-".to_owned(), |at| at.to_string()))
            .collect()
    }

    #[test]
    fn an_address_that_two_peers_have_stays_with_the_one_wireguard_gives_it_to() {
        let (one, two) = (key(1), key(2));
        let text = format!(
            "[Peer]\nPublicKey = {one}\nAllowedIPs = 10.8.0.2/32\n[Peer]\nPublicKey = {two}\nAllowedIPs = 10.8.0.2/32\n"
        );
        let plan = planned(&text, None);
        assert_eq!(addresses(&plan), ["-", "10.8.0.2"]);
        assert!(
            plan.problems[0].line == 1 && plan.problems[0].text.contains("line 4"),
            "{:?}",
            plan.problems
        );
    }

    #[test]
    fn an_address_outside_the_pools_is_reported_and_not_kept() {
        let text = format!("[Peer]\nPublicKey = {}\nAllowedIPs = 10.8.0.2/32, fd00::2/128\n", key(1));
        assert_eq!(addresses(&planned(&text, Some(&["10.8.0.0/24"]))), ["10.8.0.2"]);
        let plan = planned(&text, Some(&["10.77.0.0/24"]));
        assert_eq!(addresses(&plan), ["-"]);
        let texts: Vec<&str> = plan.problems.iter().map(|problem| problem.text.as_str()).collect();
        assert!(texts[0].starts_with("has fd00::2 besides") && texts[1].contains("in no pool"), "{texts:?}");
    }

    #[test]
    fn a_key_twice_or_malformed_is_left_out() {
        let one = key(1);
        let text = format!(
            "[Peer]\nPublicKey = {one}\n[Peer]\nPublicKey = {one}\n[Peer]\nPublicKey = AAAA\n[Peer]\n[Peer]\nPublicKey = {one}\n"
        );
        let plan = planned(&text, None);
        assert_eq!(plan.peers.len(), 1);
        let lines: Vec<usize> = plan.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [3, 5, 7, 8]);
        assert!(plan.problems[3].text.contains("the peer of line 1"), "{:?}", plan.problems);
    }

    #[test]
    fn names_are_unique_and_made_from_the_address_where_there_is_none() {
        let text = format!(
            "[Peer]\n# tv\nPublicKey = {}\n[Peer]\n# tv\nPublicKey = {}\n[Peer]\nPublicKey = {}\nAllowedIPs = 10.8.0.4/32\n\
             [Peer]\nPublicKey = {}\n",
            key(1),
            key(2),
            key(3),
            key(4)
        );
        let names: Vec<String> = planned(&text, None).peers.into_iter().map(|peer| peer.name).collect();
        assert_eq!(names, ["tv", "tv-2", "peer-10.8.0.4", "peer-line-10"]);
    }

    #[test]
    fn names_of_panels_become_names_that_peers_may_have() {
        let name = |text: &str| {
            let text = format!("[Peer]\n# {text}\nPublicKey = {}\n", key(1));
            planned(&text, None).peers.remove(0).name
        };
        assert_eq!(name("Anna's phone (blue)"), "Anna-s phone -blue");
        assert_eq!(name("../../x"), "x");
        assert_eq!(name("$(id)"), "id");
        assert_eq!(name("öffentlich_1.2"), "öffentlich_1.2");
        assert_eq!(name("()"), "peer-line-1");
        assert_eq!(name(&"x".repeat(500)).len(), 58);
    }
}
