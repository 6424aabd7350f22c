//! Address arithmetic. An address is a number of 128 bits within its family, so that one code serves IPv4 and
//! IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, 32 bits.
    V4,
    /// IPv6, 128 bits.
    V6,
}

impl Family {
    /// Family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Address length in bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The address with this number.
    pub fn address(self, number: u128) -> IpAddr {
        match self {
            // Numbers of this family come from 32-bit addresses, so nothing is cut off.
            Self::V4 => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
            Self::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }
}

/// The number of an address within its family.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// An address with a prefix length, like a value of type `inet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address, host bits included.
    pub address: IpAddr,
    /// Prefix length in bits.
    pub prefix: u8,
}

impl FromStr for Network {
    type Err = ();

    /// Parses the text form of `inet` and `cidr`. Without a prefix length it is the full one.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(drop)?;
        let bits = Family::of(address).bits();
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(drop)?;
        if prefix > bits { Err(()) } else { Ok(Self { address, prefix }) }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Network {
    /// Family of the address.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }

    /// Ones in the host bits.
    fn host_mask(&self) -> u128 {
        let host_bits = u32::from(self.family().bits() - self.prefix);
        1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1)
    }

    /// The network with all host bits zero.
    pub fn truncated(&self) -> Self {
        Self { address: self.family().address(number(self.address) & !self.host_mask()), prefix: self.prefix }
    }

    /// Whether `address` lies in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family()
            && (number(address) ^ number(self.address)) & !self.host_mask() == 0
    }

    /// The addresses that can be assigned to devices.
    ///
    /// Not the network and the broadcast address of IPv4, nor the all-zero one of IPv6 (subnet-router
    /// anycast, RFC 4291). In networks of one or two addresses all can be assigned (RFC 3021, RFC 6164).
    pub fn assignable(&self) -> RangeInclusive<u128> {
        let first = number(self.address) & !self.host_mask();
        let last = first | self.host_mask();
        match (self.family(), self.host_mask()) {
            (_, 0 | 1) => first..=last,
            (Family::V4, _) => first + 1..=last - 1,
            (Family::V6, _) => first + 1..=last,
        }
    }

    /// Number of assignable addresses. The highest, that of `::/0`, is exactly `u128::MAX`.
    pub fn assignable_count(&self) -> u128 {
        let range = self.assignable();
        range.end() - range.start() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn range(text: &str) -> (String, String, u128) {
        let network = network(text);
        let range = network.assignable();
        let text = |n: u128| network.family().address(n).to_string();
        (text(*range.start()), text(*range.end()), network.assignable_count())
    }

    #[test]
    fn assignable_ranges_are_those_of_the_rfcs() {
        let cases = [
            ("10.0.0.0/24", "10.0.0.1", "10.0.0.254", 254),
            ("10.0.0.0/30", "10.0.0.1", "10.0.0.2", 2),
            ("10.0.0.0/31", "10.0.0.0", "10.0.0.1", 2),
            ("10.0.0.7/32", "10.0.0.7", "10.0.0.7", 1),
            ("10.0.0.7", "10.0.0.7", "10.0.0.7", 1),
            ("255.255.255.255/32", "255.255.255.255", "255.255.255.255", 1),
            ("10.0.0.0/8", "10.0.0.1", "10.255.255.254", 16_777_214),
            ("0.0.0.0/0", "0.0.0.1", "255.255.255.254", 4_294_967_294),
            ("fd00::/64", "fd00::1", "fd00::ffff:ffff:ffff:ffff", (1 << 64) - 1),
            ("fd00::/126", "fd00::1", "fd00::3", 3),
            ("fd00::/127", "fd00::", "fd00::1", 2),
            ("fd00::9/128", "fd00::9", "fd00::9", 1),
            ("::/0", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", u128::MAX),
        ];
        for (text, first, last, count) in cases {
            assert_eq!(range(text), (first.to_owned(), last.to_owned(), count), "{text}");
        }
    }

    /// Every prefix length of both families, at addresses spread over the space.
    fn many_networks() -> impl Iterator<Item = Network> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u128;
        (0..4096).map(move |i| {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            let family = if i % 2 == 0 { Family::V4 } else { Family::V6 };
            let bits = family.bits();
            let number = if family == Family::V4 { state >> 96 } else { state };
            Network { address: family.address(number), prefix: (i / 2 % (u32::from(bits) + 1)) as u8 }
        })
    }

    #[test]
    fn assignable_addresses_lie_in_the_network_and_only_reserved_ones_are_missing() {
        for network in many_networks() {
            let range = network.assignable();
            let family = network.family();
            assert!(network.contains(family.address(*range.start())), "{network}");
            assert!(network.contains(family.address(*range.end())), "{network}");
            let reserved = network.host_mask().wrapping_add(1).wrapping_sub(network.assignable_count());
            let expected = match (family, network.host_mask()) {
                (_, 0 | 1) => 0,
                (Family::V4, _) => 2,
                (Family::V6, _) => 1,
            };
            assert_eq!(reserved, expected, "{network}");
        }
    }

    #[test]
    fn truncation_is_idempotent_and_keeps_the_network() {
        for network in many_networks() {
            let truncated = network.truncated();
            assert_eq!(truncated.truncated(), truncated);
            assert!(truncated.contains(network.address), "{network}");
            assert_eq!(truncated.assignable(), network.assignable(), "{network}");
        }
    }

    #[test]
    fn text_and_number_round_trip() {
        for network in many_networks() {
            assert_eq!(network.to_string().parse(), Ok(network));
            assert_eq!(network.family().address(number(network.address)), network.address);
        }
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0/", "10.0.0.0/-1", "host"] {
            assert_eq!(text.parse::<Network>(), Err(()), "{text}");
        }
    }

    #[test]
    fn families_do_not_mix() {
        assert!(!network("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(!network("::/0").contains("10.0.0.1".parse().unwrap()));
    }
}
