//! Whether a server is reached through an encrypted tunnel of this machine, such as nebula's.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Whether packets to an address leave by a TUN interface, and go to a neighbour there.
pub(crate) fn leads_into_tunnel(address: IpAddr) -> bool {
    let read = |name: &str| fs::read_to_string(Path::new("/proc/net").join(name)).unwrap_or_default();
    let interface = match address {
        IpAddr::V4(address) => interface_v4(&read("route"), address),
        IpAddr::V6(address) => interface_v6(&read("ipv6_route"), address),
    };
    interface.is_some_and(|name| Path::new("/sys/class/net").join(name).join("tun_flags").exists())
}

/// The interface of the most specific route without a gateway. `/proc/net/route` has numbers in hexadecimal, in
/// the byte order of the machine.
fn interface_v4(routes: &str, address: Ipv4Addr) -> Option<String> {
    let number = |text: &str| {
        u32::from_str_radix(text, 16).ok().map(|number| u32::from_be_bytes(number.to_ne_bytes()))
    };
    let parse = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [destination, gateway, mask] = [1, 2, 7].map(|at| words.get(at).and_then(|text| number(text)));
        Some((words.first()?.to_string(), destination?, gateway?, mask?))
    };
    let matching = routes
        .lines()
        .filter_map(parse)
        .filter(|(_, destination, _, mask)| address.to_bits() & mask == *destination);
    let (interface, _, gateway, _) = matching.max_by_key(|(_, _, _, mask)| *mask)?;
    (gateway == 0).then_some(interface)
}

/// The same for `/proc/net/ipv6_route`: destination, prefix length, …, next hop (5th), …, interface (10th).
fn interface_v6(routes: &str, address: Ipv6Addr) -> Option<String> {
    let parse = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let destination = u128::from_str_radix(words.first()?, 16).ok()?;
        let length = u32::from_str_radix(words.get(1)?, 16).ok()?;
        let next_hop = u128::from_str_radix(words.get(4)?, 16).ok()?;
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        Some((words.get(9)?.to_string(), destination, next_hop, mask))
    };
    let matching = routes
        .lines()
        .filter_map(parse)
        .filter(|(_, destination, _, mask)| address.to_bits() & mask == *destination);
    let (interface, _, next_hop, _) = matching.max_by_key(|(_, _, _, mask)| *mask)?;
    (next_hop == 0).then_some(interface)
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        nebula1\t00002A0A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    const ROUTES_6: &str = "fd420000000000000000000000000000 40 00000000000000000000000000000000 00 \
        00000000000000000000000000000000 00000100 00000001 00000000 00000001 nebula1\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
        fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n";

    #[test]
    fn the_interface_is_that_of_the_most_specific_route_without_a_gateway() {
        let v4 = |text: &str| interface_v4(ROUTES, text.parse().unwrap());
        assert_eq!((v4("10.42.7.1").as_deref(), v4("192.0.2.1")), (Some("nebula1"), None));
        let v6 = |text: &str| interface_v6(ROUTES_6, text.parse().unwrap());
        assert_eq!((v6("fd42::1").as_deref(), v6("2001:db8::1")), (Some("nebula1"), None));
    }
}
