//! The parts of `nebula.yml` that let WireGuard peers and devices reach each other through the device of a
//! node.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ipnetwork::IpNetwork;

use super::DeviceConfig;
use crate::database::device::FirewallRule;

impl DeviceConfig {
    /// The networks of peers behind this device; none unless it represents a node, whose certificate names
    /// them all.
    fn hosted_pools(&self) -> impl Iterator<Item = &IpNetwork> {
        let pools = self.project.peer_pools.iter();
        pools.filter(|pool| self.device.unsafe_networks.contains(pool))
    }

    /// On the device of a node, nebula lets through all packets from peers and to them: nftables on the node
    /// filters by the groups of peers, which nebula does not know. Without `local_cidr` a rule covers only
    /// the device's own addresses, in both directions.
    pub(super) fn forwarded(&self) -> impl Iterator<Item = FirewallRule> {
        self.hosted_pools().map(FirewallRule::behind)
    }

    /// Inbound rules, those by groups also for the networks of peers: nebula compares the groups with the
    /// certificate of the node, not with the peer. The node lets only peers of those groups through.
    pub(super) fn with_peers(&self, rules: &[FirewallRule]) -> Vec<FirewallRule> {
        let pools = aggregated(&self.project.peer_pools);
        let mut all = Vec::with_capacity(rules.len());
        for rule in rules {
            all.push(rule.clone());
            if !rule.groups.is_empty() && !rule.is_wider_than_it_says() {
                let of_peers = |pool: &IpNet| FirewallRule {
                    groups: vec![],
                    cidr: Some(pool.to_string()),
                    ..rule.clone()
                };
                all.extend(pools.iter().map(of_peers));
            }
        }
        all
    }
}

/// The same addresses in as few networks as possible: each of them becomes a rule.
fn aggregated(pools: &[IpNetwork]) -> Vec<IpNet> {
    let net = |pool: &IpNetwork| match pool {
        IpNetwork::V4(v4) => Ipv4Net::new(v4.network(), v4.prefix()).ok().map(IpNet::V4),
        IpNetwork::V6(v6) => Ipv6Net::new(v6.network(), v6.prefix()).ok().map(IpNet::V6),
    };
    let nets: Vec<_> = pools.iter().filter_map(net).collect();
    IpNet::aggregate(&nets)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::config_in;
    use super::super::{DeviceConfig, PkiSource};
    use super::*;

    /// A host of a closed project with two pools of peers, which web servers of group `web` let in.
    fn config(unsafe_networks: &[&str]) -> DeviceConfig {
        let mut config = config_in(&[2], &["10.61.0.7/24", "fd61::7/64"], &[], &[]);
        let project = Arc::make_mut(&mut config.project);
        project.peer_pools = vec!["10.77.0.0/24".parse().unwrap(), "fd77::/64".parse().unwrap()];
        (project.inbound_open, project.outbound_open) = (false, false);
        config.device.unsafe_networks = unsafe_networks.iter().map(|one| one.parse().unwrap()).collect();
        config.device.inbound = vec![FirewallRule {
            groups: vec!["web".into()],
            port_first: Some(443),
            ..FirewallRule::all("tcp")
        }];
        config
    }

    #[test]
    fn nebula_on_a_node_lets_through_both_ways_what_nftables_has_filtered() {
        let text = config(&["10.77.0.0/24", "192.168.1.0/24", "fd77::/64"]).yaml("1.10", PkiSource::Files);
        let (before, inbound) = text.split_once("  inbound:\n").unwrap();
        let (_, outbound) = before.split_once("  outbound:\n").unwrap();
        for direction in [inbound, outbound] {
            for pool in ["10.77.0.0/24", "fd77::/64"] {
                let rule = format!(
                    "    - port: any\n      proto: any\n      host: any\n      local_cidr: \"{pool}\"\n"
                );
                assert_eq!(direction.matches(&rule).count(), 1, "{text}");
            }
            assert!(!direction.contains("192.168.1.0/24"), "no network of peers: {text}");
        }
    }

    #[test]
    fn rules_by_groups_hold_for_peers_too_and_open_no_other_device() {
        let text = config(&[]).yaml("1.10", PkiSource::Files);
        let wanted = r#"    - port: 443
      proto: tcp
      groups: ["web"]
    - port: 443
      proto: tcp
      cidr: "10.77.0.0/24"
    - port: 443
      proto: tcp
      cidr: "fd77::/64"
"#;
        assert!(text.ends_with(wanted), "{text}");
        assert!(!text.contains("local_cidr"), "it hosts no peers: {text}");
        let mut others = config(&[]);
        others.device.inbound = vec![
            FirewallRule { host: Some("nas".into()), ..FirewallRule::all("tcp") },
            FirewallRule { cidr: Some("10.61.0.9/32".into()), ..FirewallRule::all("tcp") },
            FirewallRule { groups: vec!["any".into()], ..FirewallRule::all("tcp") },
        ];
        let text = others.yaml("1.10", PkiSource::Files);
        assert!(!text.contains("10.77.0.0/24"), "{text}");
    }

    #[test]
    fn an_open_project_names_the_networks_of_peers_once() {
        let mut config = config(&["10.77.0.0/24", "192.168.1.0/24"]);
        Arc::make_mut(&mut config.project).inbound_open = true;
        let text = config.yaml("1.10", PkiSource::Files);
        let (_, inbound) = text.split_once("  inbound:\n").unwrap();
        assert_eq!(inbound.matches("local_cidr: \"10.77.0.0/24\"").count(), 1, "{text}");
        assert_eq!(inbound.matches("local_cidr: \"192.168.1.0/24\"").count(), 1, "{text}");
    }

    #[test]
    fn neighbouring_pools_become_one_network() {
        let given = ["10.77.0.0/24", "10.77.1.0/24", "10.77.3.0/24", "fd77::/64"];
        let pools: Vec<IpNetwork> = given.iter().map(|pool| pool.parse().unwrap()).collect();
        let texts: Vec<_> = aggregated(&pools).iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.77.0.0/23", "10.77.3.0/24", "fd77::/64"]);
    }
}
