//! Endpoints: where a device is reached on the underlay, `host:port`. `nebula.endpoint_fault` decides the same in
//! the database; `tests/fixtures/endpoints.txt` has cases that both are tried with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The remedy for a [`fault`].
pub const HINT: &str = "Name a host and a port where other devices reach this one, for example \
                        192.0.2.10:4242, [2001:db8::1]:4242 or lighthouse.example.net:4242.";

const NO_ENDPOINT: &str = "is not host:port";

/// Why no other device can use an endpoint, as the rest of a sentence; `None` if one can.
#[must_use]
pub fn fault(endpoint: &str) -> Option<&'static str> {
    let Some(host) = host(endpoint) else { return Some(NO_ENDPOINT) };
    match address_of(host) {
        Some(address) => of_address(address),
        None if host.starts_with('[') => Some(NO_ENDPOINT),
        None => of_name(&host.to_ascii_lowercase()),
    }
}

/// The address in an endpoint; `None` if it has a name.
#[must_use]
pub fn address(endpoint: &str) -> Option<IpAddr> {
    address_of(host(endpoint)?)
}

/// Whether a text is `host:port`, wherever that leads.
#[must_use]
pub fn is_well_formed(endpoint: &str) -> bool {
    fault(endpoint) != Some(NO_ENDPOINT)
}

/// The endpoint in a URL, which may leave out the port.
#[must_use]
pub fn of_authority(authority: &str, default_port: u16) -> String {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    if has_port { authority.to_owned() } else { format!("{authority}:{default_port}") }
}

/// The part before the port, if that is a port.
fn host(endpoint: &str) -> Option<&str> {
    let (host, port) = endpoint.rsplit_once(':')?;
    let plain = port.starts_with(|first: char| ('1'..='9').contains(&first));
    (plain && port.parse::<u16>().is_ok() && (1..=253).contains(&host.len())).then_some(host)
}

fn address_of(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// As `nebula.special_networks` lists them.
fn of_address(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => match v4.octets()[0] {
            0 => Some("lies in 0.0.0.0/8, which stands for every address"),
            127 => Some("lies in 127.0.0.0/8, the loopback"),
            169 if v4.is_link_local() => Some("lies in 169.254.0.0/16, addresses of one link"),
            224..=239 => Some("lies in 224.0.0.0/4, multicast"),
            240.. => Some("lies in 240.0.0.0/4, reserved by the Internet protocol"),
            _ => None,
        },
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some("lies in ::1, the loopback"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("lies in fe80::/10, addresses of one link"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("lies in ff00::/8, multicast"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Some("lies in ::ffff:0.0.0.0/96, IPv4 addresses in the form of IPv6")
        }
        IpAddr::V6(v6) if v6.segments()[..4] == [0; 4] => {
            Some("lies in ::/64, reserved by the Internet protocol")
        }
        IpAddr::V6(_) => None,
    }
}

/// A host whose last part is a number is an address to resolvers, each of which reads it in its own way; nebula
/// 1.6 ends with such a host.
fn of_name(host: &str) -> Option<&'static str> {
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| inner(byte) || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !host.split('.').all(is_label) {
        return Some(NO_ENDPOINT);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal =
        last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some("has a number as host, but no IPv4 address");
    }
    let loopback = matches!(host, "localhost.localdomain" | "ip6-localhost" | "ip6-loopback");
    (loopback || last == "localhost").then_some("names the loopback")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_and_database_agree_on_which_endpoints_no_other_device_can_use() {
        let cases = include_str!("../../../tests/fixtures/endpoints.txt");
        let cases = cases.lines().filter(|line| !line.starts_with('#'));
        for line in cases {
            let (endpoint, wanted) = line.split_once(" |").expect("endpoint | fault");
            assert_eq!(fault(endpoint).unwrap_or_default(), wanted.trim(), "{endpoint}");
        }
        assert_eq!(fault(""), Some(NO_ENDPOINT));
        assert_eq!(fault("lh:1\n"), Some(NO_ENDPOINT));
    }

    #[test]
    fn the_endpoint_of_a_url_has_a_port() {
        for (authority, endpoint) in [
            ("example.org", "example.org:80"),
            ("example.org:8080", "example.org:8080"),
            ("[2001:db8::1]", "[2001:db8::1]:80"),
            ("[2001:db8::1]:8080", "[2001:db8::1]:8080"),
        ] {
            assert_eq!(of_authority(authority, 80), endpoint);
            assert!(is_well_formed(endpoint));
        }
        assert!(is_well_formed("127.0.0.1:80") && !is_well_formed("a:99999") && !is_well_formed(":80"));
    }

    #[test]
    fn an_endpoint_with_a_name_has_no_address() {
        assert_eq!(address("[2001:db8::1]:4242"), "2001:db8::1".parse().ok());
        assert_eq!(address("192.0.2.10:4242"), "192.0.2.10".parse().ok());
        assert_eq!(address("lh.example.net:4242"), None);
    }
}
