//! Signing the certificates of a device. The request is checked before, the certificates after they are
//! signed.

use std::time::{Duration, SystemTime};

use ipnetwork::IpNetwork;

use crate::authority::{sorted, whole_seconds};
use crate::verify::{check_constraints, check_granted, check_signature, check_time, unix};
use crate::{Certificate, CertificateAuthority, Details, Error, Fingerprint, PublicKey, Version};

/// Validity starts this long before now, so that a device whose clock is behind can join at once.
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// A request for certificates of a device.
#[derive(Clone, Debug)]
pub struct IssueRequest<'a> {
    /// 1 to 253 bytes; becomes the device's name in nebula's firewall and logs.
    pub name: &'a str,
    /// The device's addresses, each with the prefix length of the overlay. Version 1 takes the one IPv4
    /// address.
    pub networks: &'a [IpNetwork],
    /// Networks behind the device that it may route for.
    pub unsafe_networks: &'a [IpNetwork],
    /// Groups for firewall rules, order kept.
    pub groups: &'a [String],
    /// The device's key, on the authority's curve.
    pub public_key: &'a PublicKey,
    /// From now, cut to the end of the authority.
    pub lifetime: Duration,
    /// One or both.
    pub versions: &'a [Version],
}

/// A certificate that every nebula of its version accepts.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The encoding.
    pub version: Version,
    /// One PEM block; the blocks of all versions, joined in order, make `node.crt`.
    pub pem: String,
    /// For blocklists.
    pub fingerprint: Fingerprint,
    /// The second fingerprint that blocklists must hold, for P256.
    pub alternate_fingerprint: Option<Fingerprint>,
    /// Fields and bytes.
    pub certificate: Certificate,
}

impl CertificateAuthority {
    /// Signs one certificate per version asked for, the lower version first: nebula 1.6 reads only the first
    /// block of `pki.cert`. Either all are issued or none.
    ///
    /// # Errors
    /// Before anything is signed, for a request that nebula would refuse. [`Error::is_callers_fault`] tells a
    /// bad request from an authority that cannot sign.
    pub fn issue(&self, request: &IssueRequest<'_>, now: SystemTime) -> Result<Vec<Issued>, Error> {
        let mut versions = request.versions.to_vec();
        versions.sort_unstable();
        versions.dedup();
        if versions.is_empty() {
            return Err(Error::NoVersion);
        }
        let now = unix(now);
        let limits = self.certificate.details();
        check_time(limits, now)?;
        if request.public_key.curve() != limits.curve {
            return Err(Error::CurveMismatch {
                key: request.public_key.curve(),
                wanted: limits.curve,
                authority: limits.name.clone(),
            });
        }
        let planned: Vec<Details> = versions
            .iter()
            .map(|version| self.plan(request, &versions, *version, now))
            .collect::<Result<_, _>>()?;
        planned.into_iter().map(|details| self.sign(details, now)).collect()
    }

    /// The fields of one certificate, checked against the rules of nebula and the limits of the authority.
    fn plan(
        &self,
        request: &IssueRequest<'_>,
        versions: &[Version],
        version: Version,
        now: i64,
    ) -> Result<Details, Error> {
        let limits = self.certificate.details();
        // Beside version 2, which holds everything, version 1 may leave out the networks that it cannot hold.
        let partial = version == Version::V1 && versions.len() > 1;
        let fitting = |networks: &[IpNetwork]| {
            let mut networks = sorted(networks);
            networks.retain(|network| network.is_ipv4() || !partial);
            networks
        };
        let details = Details {
            version,
            name: request.name.to_owned(),
            networks: fitting(request.networks),
            unsafe_networks: fitting(request.unsafe_networks),
            groups: request.groups.to_vec(),
            is_ca: false,
            not_before: now.saturating_sub_unsigned(CLOCK_SKEW.as_secs()).max(limits.not_before),
            not_after: now.saturating_add_unsigned(whole_seconds(request.lifetime)?).min(limits.not_after),
            curve: limits.curve,
            public_key: request.public_key.bytes().to_vec(),
            issuer: Some(self.certificate.fingerprint()),
        };
        details.check_text()?;
        if version == Version::V1 {
            let count = details.networks.iter().filter(|network| network.is_ipv4()).count();
            if count != 1 {
                return Err(Error::NotOneIpv4 { count });
            }
        }
        details.check()?;
        check_constraints(&details, limits)?;
        Ok(details)
    }

    fn sign(&self, details: Details, now: i64) -> Result<Issued, Error> {
        let certificate = Certificate::sign(details, &self.key)?;
        check_granted(&certificate, &self.certificate, now)?;
        // A key in memory was compared with the certificate when it was read, so its signature is not
        // verified, which would take three times as long as signing. A token's signature is.
        if !self.key_is_in_memory() {
            check_signature(&certificate, &self.certificate)?;
        }
        Ok(Issued {
            version: certificate.details().version,
            pem: certificate.pem(),
            fingerprint: certificate.fingerprint(),
            alternate_fingerprint: certificate.alternate_fingerprint(),
            certificate,
        })
    }
}
