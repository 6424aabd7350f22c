//! The proxies in front of the gateway, whose headers about the client are believed.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

/// Their networks; empty by default, so that nobody's headers are believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies(Arc<[IpNetwork]>);

/// A wrong entry of the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error(
        "NEBULA_TRUSTED_PROXIES: {0:?} is neither an address nor a network; write for example 127.0.0.1,10.0.0.0/8"
    )]
    Malformed(String),

    #[error(
        "NEBULA_TRUSTED_PROXIES: {0} is an address in a network; write {network}/{prefix} for the network, {address} \
         for the address alone",
        network = .0.network(), prefix = .0.prefix(), address = .0.ip()
    )]
    HostBits(IpNetwork),
}

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
        entries.map(|entry| parsed(entry).map(canonical)).collect::<Result<_, _>>().map(Self)
    }
}

fn parsed(entry: &str) -> Result<IpNetwork, ProxyError> {
    let network: IpNetwork = entry.parse().map_err(|_| ProxyError::Malformed(entry.to_owned()))?;
    if network.ip() == network.network() { Ok(network) } else { Err(ProxyError::HostBits(network)) }
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

    #[test]
    fn a_network_with_bits_of_a_host_is_refused_with_both_that_may_be_meant() {
        let error = "10.1.2.3/8".parse::<TrustedProxies>().unwrap_err().to_string();
        assert!(error.contains("write 10.0.0.0/8 for the network, 10.1.2.3 for the address"), "{error}");
    }
}
