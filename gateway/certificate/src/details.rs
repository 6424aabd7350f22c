//! The fields of a certificate, in either encoding.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnetwork::IpNetwork;

use crate::{Curve, Error};

/// SHA-256 of a certificate: names the issuer in certificates, and certificates in blocklists.
pub type Fingerprint = [u8; 32];

/// Longest name in a version 2 certificate, in bytes; enforced for version 1 too, so that both can be issued.
const MAX_NAME: usize = 253;

/// The encoding of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Protobuf; one IPv4 address; the only one nebula before 1.10 understands.
    V1,
    /// DER; IPv4 and IPv6, many addresses.
    V2,
}

impl Version {
    /// 1 or 2, as `nebula-cert -version` and databases spell it.
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1" => Ok(Self::V1),
            "2" => Ok(Self::V2),
            _ => Err("certificate versions are 1 and 2"),
        }
    }
}

/// A decoded certificate.
pub(crate) struct Parts {
    pub(crate) details: Details,
    /// The bytes that the signature covers.
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// The fields of a certificate, without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The encoding.
    pub version: Version,
    /// Name of the device or authority; need not be unique.
    pub name: String,
    /// The device's own addresses, each with the prefix length of its overlay; of an authority, the limit of
    /// what it may grant (empty: no limit).
    pub networks: Vec<IpNetwork>,
    /// Networks behind the device that it may route for; of an authority, the limit as above.
    pub unsafe_networks: Vec<IpNetwork>,
    /// Names that firewall rules match; of an authority, the limit as above. Order is kept.
    pub groups: Vec<String>,
    /// Whether this is an authority.
    pub is_ca: bool,
    /// First valid second, Unix time.
    pub not_before: i64,
    /// Last valid second, Unix time.
    pub not_after: i64,
    /// Curve of the public key, the same for an authority and all it signs.
    pub curve: Curve,
    /// X25519 or P256 point of a device; Ed25519 or P256 point of an authority. 32 or 65 bytes.
    pub public_key: Vec<u8>,
    /// Fingerprint of the authority that signed it; `None` for an authority.
    pub issuer: Option<Fingerprint>,
}

impl Details {
    /// The rules nebula applies to any certificate it reads or writes, so that none is made that it would
    /// refuse.
    ///
    /// # Errors
    /// The first rule broken: key size, missing network, or a network its version cannot hold.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.curve.check_size("the public key", self.public_key.len())?;
        if !self.is_ca && self.networks.is_empty() {
            return Err(Error::NoNetwork { name: self.name.clone() });
        }
        for network in self.networks.iter().chain(&self.unsafe_networks) {
            self.check_network(*network)?;
        }
        if !self.is_ca {
            self.check_addresses()?;
        }
        if self.version == Version::V2 {
            check_order(&self.networks)?;
            check_order(&self.unsafe_networks)?;
        }
        Ok(())
    }

    /// Rules for the text fields. nebula does not check them, so they apply to issued certificates only.
    ///
    /// # Errors
    /// [`Error::Name`] or [`Error::Group`].
    pub(crate) fn check_text(&self) -> Result<(), Error> {
        let printable = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
        if self.name.len() > MAX_NAME || !printable(&self.name) {
            return Err(Error::Name { length: self.name.len() });
        }
        match self.groups.iter().find(|group| !printable(group)) {
            Some(group) => Err(Error::Group { group: group.clone() }),
            None => Ok(()),
        }
    }

    fn check_network(&self, network: IpNetwork) -> Result<(), Error> {
        match network.ip() {
            IpAddr::V6(_) if self.version == Version::V1 => Err(Error::Ipv6 { network }),
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
                Err(Error::Network { network, problem: "write IPv4 addresses as IPv4, not mapped into IPv6" })
            }
            _ => Ok(()),
        }
    }

    /// Rules for devices only: an authority may be limited to 0.0.0.0/0, which is no address of a device.
    fn check_addresses(&self) -> Result<(), Error> {
        if let Some(&network) = self.networks.iter().find(|network| network.ip().is_unspecified()) {
            return Err(Error::Network { network, problem: "a device needs an address other than zero" });
        }
        for &network in &self.unsafe_networks {
            if !self.networks.iter().any(|own| own.is_ipv4() == network.is_ipv4()) {
                let problem = "a device routes only for address families it has an address of";
                return Err(Error::Network { network, problem });
            }
        }
        Ok(())
    }
}

/// Version 2 lists are sorted and unique; [`IpNetwork`]'s order (family, address, prefix length) is nebula's.
fn check_order(networks: &[IpNetwork]) -> Result<(), Error> {
    match networks.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(Error::Network { network: pair[1], problem: "networks must be sorted, each once" }),
        None => Ok(()),
    }
}
