//! The networks that this machine is in without nebula. An overlay with the range of one of them takes its place: the
//! machine loses its neighbours, or the router by which it reaches the gateway.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use ipnetwork::{IpNetwork, Ipv4Network};

/// A route of the kernel, of the main table.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    interface: String,
    network: Ipv4Network,
    /// The next hop; none for a network that the interface is in.
    hop: Option<Ipv4Addr>,
}

/// A network of this machine that nebula would take away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overlap {
    pub(super) interface: String,
    pub(super) lan: Ipv4Network,
    pub(super) overlay: Ipv4Network,
}

/// The IPv4 routes of this machine, as the kernel lists them; nothing where they cannot be read.
pub(super) fn routes() -> String {
    fs::read_to_string("/proc/self/net/route").unwrap_or_default()
}

/// Whether an interface is a tunnel of a program, such as another nebula.
pub(super) fn is_tunnel(interface: &str) -> bool {
    Path::new("/sys/class/net").join(interface).join("tun_flags").exists()
}

/// The first network of an interface that is no tunnel which has the range of the overlay, or contains it together
/// with a router inside. Smaller ones stay reachable, since the kernel prefers the narrower route.
pub(super) fn overlap(routes: &str, overlay: &[IpNetwork], is_tunnel: fn(&str) -> bool) -> Option<Overlap> {
    let routes: Vec<_> = routes.lines().filter_map(route).filter(|one| !is_tunnel(&one.interface)).collect();
    let own = overlay.iter().filter_map(|network| match network {
        IpNetwork::V4(v4) => Ipv4Network::new(v4.network(), v4.prefix()).ok(),
        IpNetwork::V6(_) => None,
    });
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

/// A line of `/proc/net/route`: interface, network, next hop, flags, three counters, mask; the addresses as the
/// machine stores them.
fn route(line: &str) -> Option<Route> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let address = |at: usize| {
        u32::from_str_radix(fields.get(at)?, 16).ok().map(|bits| Ipv4Addr::from(bits.to_ne_bytes()))
    };
    let network = Ipv4Network::with_netmask(address(1)?, address(7)?).ok()?;
    let hop = address(2).filter(|hop| !hop.is_unspecified());
    Some(Route { interface: (*fields.first()?).to_owned(), network, hop })
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

    /// Where a machine with this LAN and router has its LAN taken by the overlay 10.42.0.0/16.
    fn lan_lost(lan: &str, router: &str, interface: &str) -> Option<String> {
        let table =
            ["Iface\tDestination\tGateway".to_owned(), line(interface, "0.0.0.0/0", router)].join("\n");
        let table = table + &line(interface, lan, "0.0.0.0");
        let overlay = ["10.42.0.7/16".parse().unwrap(), "fd42::7/64".parse().unwrap()];
        let found = overlap(&table, &overlay, |interface| interface.starts_with("nebula"))?;
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

    #[test]
    fn the_routes_of_this_machine_can_be_read() {
        assert!(routes().lines().skip(1).all(|one| route(one).is_some()), "{}", routes());
    }
}
