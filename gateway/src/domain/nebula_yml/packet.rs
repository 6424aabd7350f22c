//! Which packets the firewall of a `nebula.yml` lets pass: the same rules, read as nebula reads them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::DeviceConfig;
use crate::database::device::FirewallRule;

/// The first packet of a connection between the own addresses of two devices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    /// `tcp`, `udp` or `icmp`.
    pub(crate) protocol: &'a str,
    /// Destination port; none for icmp.
    pub(crate) port: Option<u16>,
}

/// The other end, as its certificate says.
#[derive(Debug, Clone, Copy)]
struct Remote<'a> {
    name: &'a str,
    groups: &'a [String],
    address: IpAddr,
}

impl DeviceConfig {
    /// The rule by which this device sends a packet to the other one.
    pub(crate) fn lets_out(&self, packet: Packet<'_>, to: &Self) -> Option<FirewallRule> {
        self.passes(self.outbound(), packet, to)
    }

    /// The rule by which this device takes a packet from the other one.
    pub(crate) fn lets_in(&self, packet: Packet<'_>, from: &Self) -> Option<FirewallRule> {
        self.passes(self.inbound(), packet, from)
    }

    /// The addresses at which two devices talk: of the first family that both have.
    pub(crate) fn addresses_with(&self, other: &Self) -> Option<(IpAddr, IpAddr)> {
        self.device.networks.iter().find_map(|own| {
            let theirs = other.device.networks.iter().find(|theirs| own.contains(theirs.ip()))?;
            Some((own.ip(), theirs.ip()))
        })
    }

    fn passes(&self, rules: Vec<FirewallRule>, packet: Packet<'_>, other: &Self) -> Option<FirewallRule> {
        let (own, address) = self.addresses_with(other)?;
        let remote = Remote { name: &other.device.name, groups: &other.device.groups, address };
        rules
            .into_iter()
            .filter(|rule| !rule.is_wider_than_it_says())
            .find(|rule| rule.takes(packet) && rule.is_for(remote) && rule.covers(own))
    }
}

impl FirewallRule {
    fn takes(&self, packet: Packet<'_>) -> bool {
        let port = match (self.port_first, packet.port) {
            (None, _) => true,
            (Some(first), Some(port)) => (first..=self.port_last.unwrap_or(first)).contains(&port),
            (Some(_), None) => false,
        };
        port && (self.protocol == "any" || self.protocol == packet.protocol)
    }

    /// One of name, network and groups decides; all groups have to be there.
    fn is_for(&self, remote: Remote<'_>) -> bool {
        match (&self.host, &self.cidr) {
            (Some(host), _) => host == remote.name,
            (None, Some(cidr)) => contains(cidr, remote.address),
            (None, None) => self.groups.iter().all(|group| remote.groups.contains(group)),
        }
    }

    /// Without a network of its own a rule covers the addresses of the device.
    fn covers(&self, own: IpAddr) -> bool {
        self.local.as_ref().is_none_or(|local| contains(local, own))
    }
}

fn contains(network: &str, address: IpAddr) -> bool {
    network.parse().is_ok_and(|network: IpNetwork| network.contains(address))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::config_in;
    use super::*;

    /// A device of a project that is closed in both directions.
    fn closed(name: &str, network: &str, groups: &[&str]) -> DeviceConfig {
        let mut config = config_in(&[2], &[network], &[], &[]);
        let project = Arc::make_mut(&mut config.project);
        (project.inbound_open, project.outbound_open) = (false, false);
        config.device.name = name.into();
        config.device.groups = groups.iter().map(ToString::to_string).collect();
        config
    }

    #[test]
    fn a_packet_passes_the_rule_that_names_its_protocol_port_and_remote() {
        let laptop = closed("laptop", "10.42.0.7/16", &["staff", "eu"]);
        let mut server = closed("server", "10.42.0.8/16", &[]);
        let ssh = || FirewallRule { port_first: Some(22), ..FirewallRule::all("tcp") };
        let groups = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let (tcp, udp) = (|port| Packet { protocol: "tcp", port: Some(port) }, "udp");
        for (rule, passes) in [
            (ssh(), true),
            (FirewallRule { port_first: Some(20), port_last: Some(30), ..ssh() }, true),
            (FirewallRule { port_first: Some(23), port_last: Some(30), ..ssh() }, false),
            (FirewallRule { protocol: udp.into(), ..ssh() }, false),
            (FirewallRule { groups: groups(&["eu", "staff"]), ..ssh() }, true),
            (FirewallRule { groups: groups(&["eu", "admins"]), ..ssh() }, false),
            (FirewallRule { host: Some("laptop".into()), ..ssh() }, true),
            (FirewallRule { host: Some("phone".into()), ..ssh() }, false),
            (FirewallRule { cidr: Some("10.42.0.0/24".into()), ..ssh() }, true),
            (FirewallRule { cidr: Some("10.42.1.0/24".into()), ..ssh() }, false),
            (FirewallRule { local: Some("10.42.0.8/32".into()), ..ssh() }, true),
            (FirewallRule { local: Some("192.168.0.0/16".into()), ..ssh() }, false),
            (FirewallRule { groups: groups(&["any"]), ..ssh() }, false),
        ] {
            server.device.inbound = vec![rule.clone()];
            assert_eq!(server.lets_in(tcp(22), &laptop).is_some(), passes, "{rule:?}");
        }
        let ping = Packet { protocol: "icmp", port: None };
        assert!(server.lets_in(ping, &laptop).is_some(), "icmp is always taken");
        assert!(laptop.lets_out(tcp(22), &server).is_none(), "and nothing is sent by itself");
        let elsewhere = closed("elsewhere", "10.43.0.8/16", &[]);
        assert!(elsewhere.lets_in(ping, &laptop).is_none(), "no address in a network of the other");
    }
}
