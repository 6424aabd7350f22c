//! The firewall of a node: one table for each interface, which says what may be forwarded between peers, the
//! overlay and the internet. Does no input or output.
//!
//! WireGuard guarantees the source address of a peer, so that rules can name addresses. Only answers
//! (`ct direction reply`) pass by the state of a connection: the peer's own packets are judged each by each, so
//! that a rule that is taken away ends connections that run.

use std::fmt::Write;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nebula_api::node_sync::{ForwardRule, InterfaceState, NetworkAccess};

use self::set::{families, list, networks};

mod set;

/// A service of clouds that hands out their machines' credentials.
const METADATA: &str = "169.254.0.0/16";
/// Destinations that are not the internet: of this machine, of a network that is not shared by all (RFC 1918, 6598,
/// 3927, 4193), or of no single host.
const PRIVATE: [&str; 14] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    METADATA,
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    // IPv4 inside of IPv6, which could lead to any of those.
    "::/96",
    "::ffff:0:0/96",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// Name of the table of an interface.
pub(super) fn table_name(interface: &str) -> String {
    format!("nebulactl-node-{interface}")
}

/// Commands that remove a table, also one that does not exist.
pub(super) fn removal(interface: &str) -> String {
    let table = table_name(interface);
    format!("table inet {table}\ndelete table inet {table}\n")
}

/// Commands that replace the table of an interface at once. `overlay` is the name of nebula's interface, if it
/// has one; `attached` are networks of other interfaces of the machine, whose hosts are not the internet.
pub(super) fn table(state: &InterfaceState, overlay: Option<&str>, attached: &[String]) -> String {
    let name = &state.name;
    let (internet4, internet6) = families(&networks(&state.internet));
    let (overlay4, overlay6) = families(&networks(&state.overlay));
    let (private4, private6) = families(&networks(&PRIVATE.map(str::to_owned)));
    let (attached4, attached6) = families(&networks(attached));
    let sources = state.networks.iter().flat_map(|one| &one.sources).chain(&state.internet).cloned();
    let (outside4, outside6) = families(&networks(&sources.collect::<Vec<_>>()));
    let mut text = removal(name);
    let _ = writeln!(text, "table inet {} {{", table_name(name));
    for (set, kind, elements) in [
        ("internet4", "ipv4", &internet4),
        ("internet6", "ipv6", &internet6),
        ("overlay4", "ipv4", &overlay4),
        ("overlay6", "ipv6", &overlay6),
        ("private4", "ipv4", &private4),
        ("private6", "ipv6", &private6),
        ("attached4", "ipv4", &attached4),
        ("attached6", "ipv6", &attached6),
        ("outside4", "ipv4", &outside4),
        ("outside6", "ipv6", &outside6),
    ] {
        let elements =
            if elements.is_empty() { String::new() } else { format!(" elements = {};", list(elements)) };
        let _ = writeln!(text, "  set {set} {{ type {kind}_addr; flags interval;{elements} }}");
    }
    for (chain, from_peer) in [("to_overlay", true), ("to_peer", false)] {
        let rules = state.firewall.iter().filter(|rule| rule.from_peer == from_peer).flat_map(rule_lines);
        let rules: String = rules.map(|line| format!("    {line}\n")).collect();
        let _ = writeln!(text, "  chain {chain} {{\n{rules}    counter drop\n  }}");
    }
    let listed = state.networks.iter().flat_map(access_lines);
    let listed: String = listed.map(|line| format!("    {line} accept\n")).collect();
    let _ = writeln!(
        text,
        "  chain to_outside {{
    ip saddr @internet4 ip daddr != @private4 accept
    ip6 saddr @internet6 ip6 daddr != @private6 accept
{listed}    counter drop
  }}"
    );
    text += &forward_chains(name, overlay);
    text += &input_chain(state);
    text += "}\n";
    text
}

/// The chain for packets that end on the node. Its own addresses on the interface answer pings, names where the
/// node hands itself out as resolver, and what the rules for devices allow. Its public addresses answer peers that may
/// use the internet, as they answer the internet. Every other address of the node, such as those of its LAN and of
/// containers, answers nothing.
fn input_chain(state: &InterfaceState) -> String {
    let name = &state.name;
    let mut own = String::new();
    for text in &state.dns {
        if let Ok(resolver) = text.parse::<IpAddr>() {
            let _ = writeln!(own, "    {} meta l4proto {{ tcp, udp }} th dport 53 accept", to(resolver));
        }
    }
    for address in state.addresses.iter().filter_map(|text| text.parse::<IpNetwork>().ok()) {
        let icmp = if address.is_ipv4() { "icmp" } else { "ipv6-icmp" };
        let to = to(address.ip());
        let _ = writeln!(own, "    {to} meta l4proto {icmp} accept\n    {to} goto to_overlay");
    }
    format!(
        "  chain input {{
    type filter hook input priority filter + 10; policy accept;
    iifname != \"{name}\" accept
    ct direction reply ct state established,related accept
    ct state invalid counter drop
{own}    ip daddr @overlay4 goto to_overlay
    ip6 daddr @overlay6 goto to_overlay
    ip daddr != @private4 goto to_outside
    ip6 daddr != @private6 goto to_outside
    counter drop
  }}
"
    )
}

/// The part of a rule that names a destination.
fn to(address: IpAddr) -> String {
    format!("{} daddr {address}", if address.is_ipv4() { "ip" } else { "ip6" })
}

fn forward_chains(name: &str, overlay: Option<&str>) -> String {
    let (mut forward, mut outside) = (String::new(), format!("\"{name}\""));
    if let Some(overlay) = overlay {
        // Networks of the overlay that do not lie behind nebula lie behind the node's own device.
        forward = format!(
            "    iifname \"{name}\" oifname \"{overlay}\" ip daddr @overlay4 goto to_overlay
    iifname \"{name}\" oifname \"{overlay}\" ip6 daddr @overlay6 goto to_overlay
    iifname \"{name}\" oifname \"{overlay}\" counter drop
    iifname \"{overlay}\" oifname \"{name}\" goto to_peer
    iifname \"{name}\" ip saddr @internet4 ip daddr @overlay4 goto to_overlay
    iifname \"{name}\" ip6 saddr @internet6 ip6 daddr @overlay6 goto to_overlay
"
        );
        outside = format!("{{ \"{name}\", \"{overlay}\" }}");
    }
    // The size of segments is limited before anything is accepted, so that answers are limited as well.
    format!(
        "  chain forward {{
    type filter hook forward priority filter + 10; policy accept;
    iifname != \"{name}\" oifname != \"{name}\" accept
    tcp flags syn / syn,rst tcp option maxseg size set rt mtu
    ct direction reply ct state established,related accept
    ct state related accept
    ct state invalid counter drop
    iifname \"{name}\" oifname \"{name}\" counter drop
{forward}    ip daddr {METADATA} counter drop
    iifname \"{name}\" ip saddr @internet4 ip daddr @attached4 counter drop
    iifname \"{name}\" ip6 saddr @internet6 ip6 daddr @attached6 counter drop
    iifname \"{name}\" goto to_outside
    counter drop
  }}
  chain nat {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname != {outside} ip saddr @outside4 masquerade
    oifname != {outside} ip6 saddr @outside6 masquerade
  }}
"
    )
}

/// The conditions of access to networks, one line for each family.
fn access_lines(access: &NetworkAccess) -> Vec<String> {
    let (sources, destinations) =
        (families(&networks(&access.sources)), families(&networks(&access.destinations)));
    let line = |family: &str, sources: &[IpNetwork], destinations: &[IpNetwork]| {
        (!sources.is_empty() && !destinations.is_empty())
            .then(|| format!("{family} saddr {} {family} daddr {}", list(sources), list(destinations)))
    };
    let lines = [line("ip", &sources.0, &destinations.0), line("ip6", &sources.1, &destinations.1)];
    lines.into_iter().flatten().collect()
}

/// The lines of a rule: one for each family that it speaks of, or one for both.
fn rule_lines(rule: &ForwardRule) -> Vec<String> {
    let (sources, destinations) = (networks(&rule.sources), networks(&rule.destinations));
    // A list that holds nothing that can be read must not become "any".
    if (sources.is_empty() && !rule.sources.is_empty())
        || (destinations.is_empty() && !rule.destinations.is_empty())
    {
        return Vec::new();
    }
    if sources.is_empty() && destinations.is_empty() {
        return protocol(rule, None).map(|protocol| format!("{protocol}accept")).into_iter().collect();
    }
    let (sources, destinations) = (families(&sources), families(&destinations));
    let line = |family: &str, sources: &[IpNetwork], destinations: &[IpNetwork]| {
        let given = |named: bool, side: &str, list_of: &[IpNetwork]| match (named, list_of.is_empty()) {
            (false, _) => Some(String::new()),
            (true, false) => Some(format!("{family} {side} {} ", list(list_of))),
            (true, true) => None,
        };
        let sources = given(!rule.sources.is_empty(), "saddr", sources)?;
        let destinations = given(!rule.destinations.is_empty(), "daddr", destinations)?;
        Some(format!("{sources}{destinations}{}accept", protocol(rule, Some(family))?))
    };
    let lines = [line("ip", &sources.0, &destinations.0), line("ip6", &sources.1, &destinations.1)];
    lines.into_iter().flatten().collect()
}

/// `None` for a protocol that is not known, whose rule then allows nothing.
fn protocol(rule: &ForwardRule, family: Option<&str>) -> Option<String> {
    let ports = rule.port_first.map(|first| match rule.port_last {
        Some(last) if last != first => format!("{first}-{last}"),
        _ => first.to_string(),
    });
    Some(match (rule.protocol.as_str(), ports) {
        ("any", None) => String::new(),
        ("any", Some(ports)) => format!("meta l4proto {{ tcp, udp }} th dport {ports} "),
        (protocol @ ("tcp" | "udp"), None) => format!("meta l4proto {protocol} "),
        (protocol @ ("tcp" | "udp"), Some(ports)) => format!("{protocol} dport {ports} "),
        ("icmp", _) => match family {
            Some("ip") => "meta l4proto icmp ".to_owned(),
            Some(_) => "meta l4proto ipv6-icmp ".to_owned(),
            None => "meta l4proto { icmp, ipv6-icmp } ".to_owned(),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::wireguard::desired::tests::state;

    fn rule(from_peer: bool, sources: &[&str], destinations: &[&str], protocol: &str) -> ForwardRule {
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect();
        ForwardRule {
            from_peer,
            sources: texts(sources),
            destinations: texts(destinations),
            protocol: protocol.to_owned(),
            port_first: None,
            port_last: None,
        }
    }

    #[test]
    fn a_rule_has_a_line_for_each_family_that_it_names() {
        let mixed = rule(true, &["10.77.0.9", "fd77::9"], &["10.42.0.0/24"], "icmp");
        assert_eq!(
            rule_lines(&mixed),
            ["ip saddr { 10.77.0.9 } ip daddr { 10.42.0.0/24 } meta l4proto icmp accept"]
        );
        let sources = rule(true, &["10.77.0.9", "fd77::9"], &[], "icmp");
        assert_eq!(rule_lines(&sources).len(), 2);
        let ports = ForwardRule { port_first: Some(22), port_last: Some(22), ..rule(true, &[], &[], "tcp") };
        assert_eq!(rule_lines(&ports), ["tcp dport 22 accept"]);
        let range = ForwardRule { port_first: Some(1), port_last: Some(9), ..rule(true, &[], &[], "any") };
        assert_eq!(rule_lines(&range), ["meta l4proto { tcp, udp } th dport 1-9 accept"]);
        assert_eq!(rule_lines(&rule(false, &[], &[], "any")), ["accept"]);
    }

    #[test]
    fn a_rule_that_cannot_be_read_allows_nothing() {
        for wrong in [
            rule(true, &["nobody"], &[], "any"),
            rule(true, &[], &["10.0.0.0/33"], "any"),
            rule(true, &["10.77.0.9"], &["fd42::/64"], "any"),
            rule(true, &[], &[], "tcp accept; drop"),
        ] {
            assert_eq!(rule_lines(&wrong), Vec::<String>::new(), "{wrong:?}");
        }
    }

    #[test]
    fn the_table_is_replaced_as_a_whole_and_names_only_its_interfaces() {
        let mut state = state(0, 1, &[]);
        state.firewall =
            vec![rule(true, &["10.77.0.9"], &[], "tcp"), rule(false, &["10.42.0.2"], &[], "any")];
        state.internet = vec!["10.77.0.9".to_owned()];
        let attached = ["198.51.100.0/24", "2001:db8:7::/64"].map(str::to_owned);
        let text = table(&state, Some("nebula1"), &attached);
        let begin = "table inet nebulactl-node-wg0\ndelete table inet nebulactl-node-wg0\n";
        assert!(text.starts_with(begin), "{text}");
        for line in [
            "  chain to_overlay {\n    ip saddr { 10.77.0.9 } meta l4proto tcp accept\n    counter drop\n  }\n",
            "  chain to_peer {\n    ip saddr { 10.42.0.2 } accept\n    counter drop\n  }\n",
            "  set internet4 { type ipv4_addr; flags interval; elements = { 10.77.0.9 }; }\n",
            "    ip daddr 10.77.0.1 meta l4proto icmp accept\n    ip daddr 10.77.0.1 goto to_overlay\n",
            "    ip6 daddr @overlay6 goto to_overlay\n    ip daddr != @private4 goto to_outside\n",
            "  set internet6 { type ipv6_addr; flags interval; }\n",
            "  set attached4 { type ipv4_addr; flags interval; elements = { 198.51.100.0/24 }; }\n",
            "  set attached6 { type ipv6_addr; flags interval; elements = { 2001:db8:7::/64 }; }\n",
            "    iifname \"wg0\" ip6 saddr @internet6 ip6 daddr @attached6 counter drop\n    iifname \"wg0\" goto to_outside\n",
            "  set overlay4 { type ipv4_addr; flags interval; elements = { 10.42.0.0/16 }; }\n",
            "    oifname != { \"wg0\", \"nebula1\" } ip saddr @outside4 masquerade\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let without = table(&state, None, &[]);
        assert!(
            !without.contains("goto to_peer") && without.contains("oifname != \"wg0\" ip saddr"),
            "{without}"
        );
    }

    #[test]
    fn peers_reach_what_is_public_or_listed_for_them() {
        let mut state = state(0, 1, &[]);
        state.internet = vec!["10.77.0.9".to_owned(), "fd77::9".to_owned()];
        let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let access = |sources: &[&str], destinations: &[&str]| NetworkAccess {
            sources: texts(sources),
            destinations: texts(destinations),
        };
        state.networks = vec![
            access(&["10.77.0.8", "fd77::8"], &["0.0.0.0/0", "::/0"]),
            access(&["10.77.0.7", "fd77::7"], &["192.168.7.0/24"]),
            // Neither a source nor a destination that cannot be read stands for all.
            access(&["nobody"], &["192.168.8.0/24"]),
            access(&["10.77.0.6"], &["everything"]),
        ];
        let text = table(&state, Some("nebula1"), &[]);
        let chain = text.split("chain to_outside {\n").nth(1).and_then(|rest| rest.split("  }\n").next());
        let lines: Vec<&str> = chain.unwrap().lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "ip saddr @internet4 ip daddr != @private4 accept",
                "ip6 saddr @internet6 ip6 daddr != @private6 accept",
                "ip saddr { 10.77.0.8 } ip daddr { 0.0.0.0/0 } accept",
                "ip6 saddr { fd77::8 } ip6 daddr { ::/0 } accept",
                "ip saddr { 10.77.0.7 } ip daddr { 192.168.7.0/24 } accept",
                "counter drop",
            ]
        );
        let set = "set outside4 { type ipv4_addr; flags interval; elements = { 10.77.0.6, 10.77.0.7, 10.77.0.8, 10.77.0.9 }; }";
        assert!(text.contains(set), "{text}");
    }

    #[test]
    fn a_node_answers_names_only_where_it_is_handed_out_as_resolver() {
        let mut state = state(0, 1, &[]);
        assert!(!input_chain(&state).contains("dport"), "{}", input_chain(&state));
        state.dns = ["10.77.0.1", "fd77::1", "tcp accept"].map(str::to_owned).to_vec();
        let chain = input_chain(&state);
        let names: Vec<&str> = chain.lines().filter(|line| line.contains("dport 53")).collect();
        assert_eq!(
            names,
            [
                "    ip daddr 10.77.0.1 meta l4proto { tcp, udp } th dport 53 accept",
                "    ip6 daddr fd77::1 meta l4proto { tcp, udp } th dport 53 accept"
            ]
        );
    }

    #[test]
    fn nft_takes_the_table() {
        // Only a check: it changes nothing, but needs the right to ask the kernel.
        if !rustix::process::geteuid().is_root() || which::which("nft").is_err() {
            return;
        }
        let mut state = state(0, 1, &[]);
        let both = ["10.77.0.9", "10.77.0.8", "fd77::9"];
        state.firewall = ["any", "tcp", "udp", "icmp"]
            .into_iter()
            .flat_map(|protocol| {
                [true, false]
                    .map(|from_peer| rule(from_peer, &both, &["10.42.0.0/16", "fd42::/64"], protocol))
            })
            .chain([rule(true, &[], &[], "icmp")])
            .collect();
        state.firewall.push(ForwardRule {
            port_first: Some(80),
            port_last: Some(90),
            ..rule(true, &[], &[], "any")
        });
        state.internet = both.map(str::to_owned).to_vec();
        state.networks = vec![NetworkAccess {
            sources: both.map(str::to_owned).to_vec(),
            destinations: ["0.0.0.0/0", "::/0"].map(str::to_owned).to_vec(),
        }];
        state.addresses.push("fd77::1/64".to_owned());
        state.dns = vec!["10.77.0.1".to_owned(), "fd77::1".to_owned()];
        let attached = ["198.51.100.7/24", "198.51.100.0/25", "2001:db8:7::/64"].map(str::to_owned);
        let folder = tempfile::tempdir().unwrap();
        for overlay in [Some("nebula1"), None] {
            let path = folder.path().join("table.nft");
            std::fs::write(&path, table(&state, overlay, &attached)).unwrap();
            let checked = std::process::Command::new("nft").arg("-c").arg("-f").arg(&path).output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        }
    }
}
