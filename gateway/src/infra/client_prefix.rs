//! The network that counts as one client.

use std::net::{IpAddr, Ipv6Addr};

/// The address, of IPv6 its /64: a customer of a provider usually controls a whole /64.
pub(crate) fn client_prefix(client: Option<IpAddr>) -> IpAddr {
    match client {
        Some(IpAddr::V6(address)) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            IpAddr::V6(segments.into())
        }
        Some(address) => address,
        None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
