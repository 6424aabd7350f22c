//! Faults that keep this machine from forwarding, each with the command that helps. Rules of other programs are
//! read, never changed: an accept in a table of ours cannot undo a drop in another.

use serde_json::Value;

use crate::agent::change::Release;

/// First release of nebula that lets packets of peers through: older ones know no `local_cidr` in rules.
const FORWARDS: Release = Release(1, 10);

/// Rules that drop what an interface forwards, in the output of `nft -j list ruleset`.
pub(super) fn in_ruleset(ruleset: &Value, interface: &str) -> Vec<String> {
    let objects = || ruleset["nftables"].as_array().into_iter().flatten();
    let mut found = Vec::new();
    let firewalld = objects().any(|object| object["table"]["name"] == "firewalld");
    if firewalld && !mentions(ruleset, "inet", "firewalld", "iifname", interface) {
        found.push(format!(
            "firewalld drops what {interface} forwards: firewall-cmd --permanent --zone=trusted \
             --add-interface={interface} && firewall-cmd --reload"
        ));
    }
    let drops = |chain: &Value| chain["hook"] == "forward" && chain["policy"] == "drop";
    for chain in objects().map(|object| &object["chain"]).filter(|chain| drops(chain)) {
        let [family, table, name] =
            ["family", "table", "name"].map(|key| chain[key].as_str().unwrap_or_default());
        let passes = |key| mentions(ruleset, family, table, key, interface);
        if !(passes("iifname") && passes("oifname")) {
            found.push(remedy(ruleset, family, table, name, interface));
        }
    }
    found
}

fn remedy(ruleset: &Value, family: &str, table: &str, chain: &str, interface: &str) -> String {
    let has = |wanted: &str| {
        let objects = ruleset["nftables"].as_array().into_iter().flatten();
        let mut chains = objects.map(|object| &object["chain"]);
        chains.any(|one| {
            one["family"] == family
                && one["table"] == table
                && one["name"].as_str().is_some_and(|name| name.starts_with(wanted))
        })
    };
    if has("ufw-") || has("ufw6-") {
        return format!(
            "ufw drops what {interface} forwards: ufw route allow in on {interface} && ufw route allow out on \
             {interface}"
        );
    }
    if has("DOCKER-USER") {
        let program = if family == "ip6" { "ip6tables" } else { "iptables" };
        return format!(
            "Docker drops what {interface} forwards: {program} -I DOCKER-USER -i {interface} -j ACCEPT && {program} \
             -I DOCKER-USER -o {interface} -j ACCEPT"
        );
    }
    // Names of chains come from other programs, and are only shown.
    format!(
        "the chain {chain} of the table {table} ({family}) drops what {interface} forwards: nft insert rule {family} \
         {table} {chain} iifname {interface} accept && nft insert rule {family} {table} {chain} oifname {interface} \
         accept"
    )
}

/// Whether a rule of the table says something about packets that come in (`iifname`) or go out (`oifname`) by
/// this interface, other than to drop them.
fn mentions(ruleset: &Value, family: &str, table: &str, key: &str, interface: &str) -> bool {
    let rules = ruleset["nftables"].as_array().into_iter().flatten().map(|object| &object["rule"]);
    let ours = rules.filter(|rule| rule["family"] == family && rule["table"] == table);
    ours.filter_map(|rule| rule["expr"].as_array()).any(|parts| {
        let names = parts.iter().any(|part| {
            let matched = &part["match"];
            matched["op"] == "=="
                && matched["left"]["meta"]["key"] == key
                && holds(&matched["right"], interface)
        });
        let lets =
            |part: &Value| ["accept", "goto", "jump"].iter().any(|verdict| part.get(verdict).is_some());
        names && parts.iter().any(lets)
    })
}

/// A name, or a set that holds it.
fn holds(right: &Value, interface: &str) -> bool {
    right == interface || right["set"].as_array().is_some_and(|set| set.iter().any(|one| one == interface))
}

/// A nebula that drops what the node forwards.
pub(super) fn in_nebula(release: Release) -> Option<String> {
    let Release(major, minor) = release;
    (release < FORWARDS).then(|| {
        format!(
            "nebula {major}.{minor} drops packets between peers and the overlay: install nebula 1.10 or newer, \
             https://github.com/slackhq/nebula/releases, and restart the agent"
        )
    })
}

/// A machine without IPv6 where addresses of IPv6 are wanted.
pub(super) fn in_ipv6(wanted: bool, present: bool) -> Option<String> {
    let text =
        "this machine has no IPv6, so peers have IPv4 only: sysctl -w net.ipv6.conf.all.disable_ipv6=0";
    (wanted && !present).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chain(family: &str, table: &str, name: &str, policy: &str) -> Value {
        let mut chain = json!({ "family": family, "table": table, "name": name });
        if !policy.is_empty() {
            chain["hook"] = "forward".into();
            chain["policy"] = policy.into();
        }
        json!({ "chain": chain })
    }

    fn rule(family: &str, table: &str, key: &str, interface: Value, verdict: &str) -> Value {
        let matched =
            json!({ "match": { "op": "==", "left": { "meta": { "key": key } }, "right": interface } });
        json!({ "rule": { "family": family, "table": table, "chain": "x", "expr": [matched, { verdict: null }] } })
    }

    fn look(objects: &[Value]) -> Vec<String> {
        in_ruleset(&json!({ "nftables": objects }), "wg0")
    }

    #[test]
    fn each_firewall_is_named_with_its_own_command() {
        assert!(look(&[chain("ip", "filter", "FORWARD", "accept")]).is_empty());
        for (objects, words) in [
            (
                vec![chain("ip", "filter", "FORWARD", "drop"), chain("ip", "filter", "DOCKER-USER", "")],
                "iptables -I DOCKER-USER -i wg0",
            ),
            (
                vec![chain("ip6", "filter", "FORWARD", "drop"), chain("ip6", "filter", "DOCKER-USER", "")],
                "&& ip6tables -I DOCKER-USER -o wg0",
            ),
            (
                vec![chain("ip", "filter", "FORWARD", "drop"), chain("ip", "filter", "ufw-user-forward", "")],
                "ufw route allow in on wg0",
            ),
            (vec![json!({ "table": { "family": "inet", "name": "firewalld" } })], "--add-interface=wg0"),
            (vec![chain("inet", "fw", "fwd", "drop")], "nft insert rule inet fw fwd iifname wg0 accept"),
        ] {
            let found = look(&objects);
            assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        }
    }

    #[test]
    fn a_command_that_was_run_ends_the_complaint() {
        let drop = chain("ip", "filter", "FORWARD", "drop");
        let come = rule("ip", "filter", "iifname", "wg0".into(), "accept");
        let go = rule("ip", "filter", "oifname", json!({ "set": ["eth0", "wg0"] }), "accept");
        assert_eq!(look(&[drop.clone(), come.clone()]).len(), 1, "only one direction");
        assert!(look(&[drop.clone(), come, go]).is_empty());
        let others = [
            rule("ip", "filter", "iifname", "wg1".into(), "accept"),
            rule("ip", "filter", "oifname", "wg0".into(), "drop"),
            rule("ip", "nat", "iifname", "wg0".into(), "accept"),
        ];
        assert_eq!(look(&[&[drop], &others[..]].concat()).len(), 1);
        let zone = rule("inet", "firewalld", "iifname", "wg0".into(), "goto");
        assert!(look(&[json!({ "table": { "family": "inet", "name": "firewalld" } }), zone]).is_empty());
    }

    #[test]
    fn old_releases_of_nebula_and_missing_ipv6_are_obstacles() {
        assert!(in_nebula(Release(1, 9)).unwrap().contains("1.10 or newer"));
        assert_eq!(
            (in_nebula(Release(1, 10)), in_ipv6(false, false), in_ipv6(true, true)),
            (None, None, None)
        );
        assert!(in_ipv6(true, false).unwrap().contains("disable_ipv6=0"));
    }
}
