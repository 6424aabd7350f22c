//! The checks that nebula makes before it trusts a certificate, in nebula's order.

use std::time::{SystemTime, UNIX_EPOCH};

use ipnetwork::IpNetwork;
use openssl::asn1::Asn1Time;

use crate::{Certificate, Details, Error, raw_signature};

/// Whether one of these authorities issued a device's certificate and it is valid at this time. Blocklists
/// are not looked at.
///
/// # Errors
/// The first check that fails: [`Error::UnknownIssuer`], [`Error::CurveMismatch`], [`Error::Expired`],
/// [`Error::NotYetValid`], [`Error::Signature`], or a constraint of the authority.
pub fn verify(certificate: &Certificate, authorities: &[Certificate], at: SystemTime) -> Result<(), Error> {
    let authority = authorities
        .iter()
        .find(|authority| certificate.details().issuer == Some(authority.fingerprint()))
        .ok_or_else(|| Error::UnknownIssuer { name: certificate.details().name.clone() })?;
    check_authority(authority)?;
    check_granted(certificate, authority, unix(at))?;
    check_signature(certificate, authority)
}

/// Whether this is an authority: marked as one, and signed with the key it carries. Its validity is not
/// checked: an expired authority stays trusted until it is removed, and is only reported.
pub(crate) fn check_authority(authority: &Certificate) -> Result<(), Error> {
    let details = authority.details();
    if !details.is_ca || details.issuer.is_some() {
        return Err(Error::NotAuthority { name: details.name.clone() });
    }
    check_signature(authority, authority)
}

/// Everything but the signature.
pub(crate) fn check_granted(
    certificate: &Certificate,
    authority: &Certificate,
    at: i64,
) -> Result<(), Error> {
    let (details, limits) = (certificate.details(), authority.details());
    if details.curve != limits.curve {
        let (key, wanted) = (details.curve, limits.curve);
        return Err(Error::CurveMismatch { key, wanted, authority: limits.name.clone() });
    }
    check_time(limits, at)?;
    check_time(details, at)?;
    check_constraints(details, limits)
}

/// Whether a time is in the validity, both ends included.
pub(crate) fn check_time(details: &Details, at: i64) -> Result<(), Error> {
    let name = || details.name.clone();
    if at < details.not_before {
        return Err(Error::NotYetValid { name: name(), not_before: utc(details.not_before) });
    }
    if at > details.not_after {
        return Err(Error::Expired { name: name(), not_after: utc(details.not_after) });
    }
    Ok(())
}

/// Checks the limits of an authority: validity, groups, networks.
pub(crate) fn check_constraints(details: &Details, limits: &Details) -> Result<(), Error> {
    let authority = || limits.name.clone();
    if details.not_before < limits.not_before || details.not_after > limits.not_after {
        return Err(Error::OutsideValidity { name: details.name.clone(), authority: authority() });
    }
    let foreign = |group: &&String| !limits.groups.is_empty() && !limits.groups.contains(group);
    if let Some(group) = details.groups.iter().find(foreign) {
        return Err(Error::GroupNotAllowed { group: group.clone(), authority: authority() });
    }
    for (granted, allowed) in
        [(&details.networks, &limits.networks), (&details.unsafe_networks, &limits.unsafe_networks)]
    {
        if let Some(&network) = granted.iter().find(|network| !within(**network, allowed)) {
            return Err(Error::NetworkNotAllowed { network, authority: authority() });
        }
    }
    Ok(())
}

/// Whether a network is inside an allowed one. Its prefix counts too: the overlay it claims may not be wider.
fn within(network: IpNetwork, allowed: &[IpNetwork]) -> bool {
    allowed.is_empty()
        || allowed.iter().any(|wide| wide.contains(network.ip()) && wide.prefix() <= network.prefix())
}

pub(crate) fn check_signature(certificate: &Certificate, signer: &Certificate) -> Result<(), Error> {
    let key = signer.details();
    if raw_signature::verify(key.curve, &key.public_key, certificate.signed(), certificate.signature())? {
        Ok(())
    } else {
        Err(Error::Signature { name: certificate.details().name.clone() })
    }
}

/// Whole seconds since 1970, as certificates count.
pub(crate) fn unix(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}

fn utc(seconds: i64) -> String {
    Asn1Time::from_unix(seconds).map_or_else(|_| format!("Unix time {seconds}"), |time| time.to_string())
}
