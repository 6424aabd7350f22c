//! The proxies in front of the gateway, whose headers about the client are believed.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

/// Their networks; empty by default, so that nobody's headers are believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies(Arc<[IpNetwork]>);

/// An entry of the setting that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "NEBULA_TRUSTED_PROXIES: {0:?} is neither an address nor a network; write for example 127.0.0.1,10.0.0.0/8"
)]
pub(crate) struct ProxyError(String);

impl TrustedProxies {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address.to_canonical()))
    }
}

/// Addresses and networks, separated by commas or blanks.
impl FromStr for TrustedProxies {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let entries = text.split([',', ' ']).filter(|entry| !entry.is_empty());
        let parse = |entry: &str| entry.parse().map_err(|_| ProxyError(entry.to_owned()));
        entries.map(|entry| parse(entry).map(canonical)).collect::<Result<_, _>>().map(Self)
    }
}

/// A network of IPv4 addresses in the form of IPv6 as one of IPv4, which is how addresses of peers are compared.
fn canonical(network: IpNetwork) -> IpNetwork {
    let mapped = match network {
        IpNetwork::V6(v6) if v6.prefix() >= 96 => v6.ip().to_ipv4_mapped().map(|ip| (ip, v6.prefix() - 96)),
        _ => None,
    };
    mapped.and_then(|(ip, prefix)| IpNetwork::new(ip.into(), prefix).ok()).unwrap_or(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_are_listed_are_trusted() {
        let proxies: TrustedProxies = "127.0.0.1, 10.0.0.0/8,::1".parse().unwrap();
        for (address, trusted) in
            [("127.0.0.1", true), ("::ffff:10.1.2.3", true), ("::1", true), ("127.0.0.2", false)]
        {
            assert_eq!(proxies.contains(address.parse().unwrap()), trusted, "{address}");
        }
        let mapped: TrustedProxies = "::ffff:10.0.0.0/104".parse().unwrap();
        assert!(mapped.contains([10, 1, 2, 3].into()) && !mapped.contains([11, 1, 2, 3].into()));
        assert!(!TrustedProxies::default().contains([127, 0, 0, 1].into()));
        assert!("proxy.lan".parse::<TrustedProxies>().unwrap_err().to_string().contains("proxy.lan"));
    }
}
