//! The networks that this machine is in without nebula. An overlay with the range of one of them takes its place: the
//! machine loses its neighbours, or the router by which it reaches the gateway.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnetwork::{IpNetwork, Ipv4Network};

/// Flags of IPv6 routes to addresses of this machine itself.
const LOCAL: u32 = 0x8000_0000;
const ANYCAST: u32 = 0x4000_0000;

/// A route of the kernel.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    interface: String,
    network: IpNetwork,
    /// The next hop; none for a network that the interface is in.
    hop: Option<IpAddr>,
}

/// A network of this machine that nebula would take away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    pub(super) interface: String,
    pub(super) lan: IpNetwork,
    pub(super) overlay: IpNetwork,
}

/// The routes of this machine, as the kernel lists them; nothing where they cannot be read.
pub(super) fn routes() -> String {
    let read = |name: &str| fs::read_to_string(Path::new("/proc/self/net").join(name)).unwrap_or_default();
    read("route") + &read("ipv6_route")
}

/// Whether an interface is a tunnel of a program, such as another nebula.
pub(super) fn is_tunnel(interface: &str) -> bool {
    Path::new("/sys/class/net").join(interface).join("tun_flags").exists()
}

/// The first network of an interface that is no tunnel which has the range of the overlay, or contains it together
/// with a router inside. Smaller ones stay reachable, since the kernel prefers the narrower route.
pub(super) fn overlap(
    routes: &str,
    overlay: &[IpNetwork],
    is_tunnel: impl Fn(&str) -> bool,
) -> Option<Overlap> {
    let routes: Vec<_> = routes.lines().filter_map(route).filter(|one| !is_tunnel(&one.interface)).collect();
    let own = overlay.iter().filter_map(|network| IpNetwork::new(network.network(), network.prefix()).ok());
    own.into_iter().find_map(|overlay| {
        let has_router = || routes.iter().any(|one| one.hop.is_some_and(|hop| overlay.contains(hop)));
        let lans = routes.iter().filter(|one| one.hop.is_none());
        let mut around = lans.filter(|one| {
            one.network.prefix() <= overlay.prefix() && one.network.contains(overlay.network())
        });
        let found = around.find(|one| one.network == overlay || has_router())?;
        Some(Overlap { interface: found.interface.clone(), lan: found.network, overlay })
    })
}

/// A line of `/proc/net/route` or of `/proc/net/ipv6_route`.
fn route(line: &str) -> Option<Route> {
    let fields: Vec<_> = line.split_whitespace().collect();
    // No interface has so long a name.
    if fields.first()?.len() == 32 { route_v6(&fields) } else { route_v4(&fields) }
}

/// Interface, network, next hop, flags, three counters, mask; the addresses as the machine stores them.
fn route_v4(fields: &[&str]) -> Option<Route> {
    let address = |at: usize| {
        u32::from_str_radix(fields.get(at)?, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()))
    };
    // A route that refuses packets has no interface.
    if *fields.first()? == "*" {
        return None;
    }
    let network = Ipv4Network::with_netmask(address(1)?, address(7)?).ok()?.into();
    let hop = address(2).filter(|hop| !hop.is_unspecified()).map(IpAddr::V4);
    Some(Route { interface: (*fields.first()?).to_owned(), network, hop })
}

/// Network, source network, next hop, metric, two counters, flags, interface. Routes to addresses of this machine
/// itself stand among them.
fn route_v6(fields: &[&str]) -> Option<Route> {
    let address = |at: usize| u128::from_str_radix(fields.get(at)?, 16).ok().map(Ipv6Addr::from);
    let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
    let interface = (*fields.get(9)?).to_owned();
    if number(8)? & (LOCAL | ANYCAST) != 0 || interface == "lo" {
        return None;
    }
    let network = IpNetwork::new(address(0)?.into(), number(1)?.try_into().ok()?).ok()?;
    let hop = address(4).filter(|hop| !hop.is_unspecified()).map(IpAddr::V6);
    Some(Route { interface, network, hop })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the kernel.
    fn line(interface: &str, network: &str, hop: &str) -> String {
        let network: Ipv4Network = network.parse().unwrap();
        let hexadecimal = |address: Ipv4Addr| format!("{:08X}", u32::from_ne_bytes(address.octets()));
        let [to, via, mask] = [network.network(), hop.parse().unwrap(), network.mask()].map(hexadecimal);
        format!("{interface}\t{to}\t{via}\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n")
    }

    fn is_nebula(interface: &str) -> bool {
        interface.starts_with("nebula")
    }

    /// Where a machine with this LAN and router has its LAN taken by the overlay 10.42.0.0/16.
    fn lan_lost(lan: &str, router: &str, interface: &str) -> Option<String> {
        let table =
            ["Iface\tDestination\tGateway".to_owned(), line(interface, "0.0.0.0/0", router)].join("\n");
        let table = table + &line(interface, lan, "0.0.0.0");
        let overlay = ["10.42.0.7/16".parse().unwrap(), "fd42::7/64".parse().unwrap()];
        let found = overlap(&table, &overlay, is_nebula)?;
        assert_eq!(found.overlay.to_string(), "10.42.0.0/16");
        Some(format!("{} {}", found.interface, found.lan))
    }

    #[test]
    fn an_overlay_takes_no_lan_with_its_range_and_no_router() {
        for (lan, router) in [("10.42.0.0/16", "10.42.0.1"), ("10.40.0.0/13", "10.42.9.1")] {
            assert_eq!(lan_lost(lan, router, "eth0"), Some(format!("eth0 {lan}")));
        }
        for (lan, router) in [
            ("192.168.1.0/24", "192.168.1.1"),
            ("10.42.9.0/24", "10.42.9.1"),
            ("10.0.0.0/8", "10.0.0.1"),
            ("10.43.0.0/16", "10.43.0.1"),
        ] {
            assert_eq!(lan_lost(lan, router, "eth0"), None, "{lan}");
        }
        assert_eq!(lan_lost("10.42.0.0/16", "192.0.2.1", "eth0").as_deref(), Some("eth0 10.42.0.0/16"));
        assert_eq!(lan_lost("10.42.0.0/16", "10.42.0.1", "nebula7"), None, "its own");
    }

    /// A line of the kernel.
    fn line_v6(network: &str, hop: &str, flags: u32, interface: &str) -> String {
        let network: ipnetwork::Ipv6Network = network.parse().unwrap();
        let hop: Ipv6Addr = hop.parse().unwrap();
        let (network, prefix, hop) = (u128::from(network.network()), network.prefix(), u128::from(hop));
        format!(
            "{network:032x} {prefix:02x} {:032x} 00 {hop:032x} 00000100 1 0 {flags:08x} {interface:>8}\n",
            0
        )
    }

    #[test]
    fn an_overlay_of_ipv6_takes_no_lan_either() {
        let overlay = ["10.42.0.7/16".parse().unwrap(), "fd42::7/64".parse().unwrap()];
        let lost = |lines: &[String]| {
            let found = overlap(&lines.concat(), &overlay, is_nebula)?;
            Some(format!("{} {} {}", found.interface, found.lan, found.overlay))
        };
        let router = |hop: &str| line_v6("::/0", hop, 3, "eth0");
        let lan = |network: &str| line_v6(network, "::", 1, "eth0");
        let same = lost(&[router("fe80::1"), lan("fd42::/64")]);
        assert_eq!(same.as_deref(), Some("eth0 fd42::/64 fd42::/64"));
        let wide = lost(&[router("fd42::1"), lan("fd42::/48")]);
        assert_eq!(wide.as_deref(), Some("eth0 fd42::/48 fd42::/64"));
        for others in [
            [router("fe80::1"), lan("fd42::/48")],
            [lan("fd42:0:0:1::/64"), lan("fe80::/64")],
            [line_v6("fd42::/64", "::", 1, "nebula1"), line_v6("fd42::7/128", "::", LOCAL | 1, "nebula1")],
            [line_v6("fd42::/64", "::", ANYCAST | 1, "eth0"), line_v6("::1/128", "::", 1, "lo")],
        ] {
            assert_eq!(lost(&others), None, "{others:?}");
        }
    }

    #[test]
    fn the_routes_of_this_machine_can_be_read() {
        let wrong = |one: &&str| route(one).is_none() && one.split_whitespace().count() != 10;
        let unread: Vec<_> = routes().lines().skip(1).filter(wrong).map(str::to_owned).collect();
        assert!(unread.is_empty(), "{unread:?}");
    }
}
