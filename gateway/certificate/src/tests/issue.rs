//! Issued certificates, and requests that are refused.

use std::time::Duration;

use super::{DAY, NOW, authority, groups, networks, now};
use crate::{
    CLOCK_SKEW, CertificateAuthority, Curve, Error, IssueRequest, Issued, KeyPair, NewAuthority, Version,
    verify,
};

const BOTH: &[Version] = &[Version::V2, Version::V1];

/// A good request; each test changes one property.
struct Trial {
    name: String,
    networks: Vec<&'static str>,
    unsafe_networks: Vec<&'static str>,
    groups: Vec<&'static str>,
    curve: Curve,
    lifetime: Duration,
    versions: &'static [Version],
}

impl Trial {
    fn new() -> Self {
        Self {
            name: "laptop".into(),
            networks: vec!["10.42.0.5/16"],
            unsafe_networks: vec![],
            groups: vec![],
            curve: Curve::Curve25519,
            lifetime: DAY,
            versions: BOTH,
        }
    }

    fn issue(&self, ca: &CertificateAuthority) -> Result<Vec<Issued>, Error> {
        let pair = KeyPair::generate(self.curve)?;
        let request = IssueRequest {
            name: &self.name,
            networks: &networks(&self.networks),
            unsafe_networks: &networks(&self.unsafe_networks),
            groups: &groups(&self.groups),
            public_key: pair.public_key(),
            lifetime: self.lifetime,
            versions: self.versions,
        };
        ca.issue(&request, now())
    }
}

fn refused(change: impl Fn(&mut Trial)) -> Error {
    let mut trial = Trial::new();
    change(&mut trial);
    let error = trial.issue(&authority()).unwrap_err();
    assert!(error.is_callers_fault(), "{error}");
    error
}

#[test]
fn both_versions_of_every_authority_verify() {
    for curve in [Curve::Curve25519, Curve::P256] {
        for version in [Version::V1, Version::V2] {
            let new = NewAuthority { version, curve, ..NewAuthority::new("home", DAY * 365) };
            let ca = CertificateAuthority::create(&new, now()).unwrap();
            let issued = Trial { curve, ..Trial::new() }.issue(&ca).unwrap();
            let versions: Vec<_> = issued.iter().map(|one| one.version).collect();
            assert_eq!(versions, [Version::V1, Version::V2], "version 1 first");
            for one in issued {
                verify(&one.certificate, ca.trusted(), now()).unwrap();
                assert_eq!(one.fingerprint, one.certificate.fingerprint());
                assert_eq!(one.alternate_fingerprint.is_some(), curve == Curve::P256);
                assert_ne!(one.alternate_fingerprint, Some(one.fingerprint));
            }
        }
    }
}

#[test]
fn validity_starts_a_little_early_and_never_leaves_the_authority() {
    let ca = authority();
    let limits = ca.certificate().details();
    let pair = KeyPair::generate(Curve::Curve25519).unwrap();
    let details = |lifetime, now| {
        let request = IssueRequest {
            name: "laptop",
            networks: &networks(&["10.42.0.5/16"]),
            unsafe_networks: &[],
            groups: &[],
            public_key: pair.public_key(),
            lifetime,
            versions: &[Version::V1],
        };
        let issued = ca.issue(&request, now);
        issued.map(|mut issued| issued.remove(0).certificate.details().clone())
    };
    let skew = CLOCK_SKEW.as_secs().cast_signed();
    let later = details(DAY, now() + DAY + Duration::from_millis(999)).unwrap();
    assert_eq!(later.not_before, NOW + 86_400 - skew);
    assert_eq!(later.not_after, NOW + 2 * 86_400);
    let at_once = details(DAY * 10_000, now() - CLOCK_SKEW).unwrap();
    assert_eq!((at_once.not_before, at_once.not_after), (limits.not_before, limits.not_after));
    assert_eq!(details(Duration::MAX, now()).unwrap().not_after, limits.not_after);
    assert!(matches!(details(Duration::from_millis(999), now()), Err(Error::Lifetime)));
    let expired = details(DAY, now() + DAY * 366).unwrap_err();
    assert!(matches!(expired, Error::Expired { .. }) && !expired.is_callers_fault());
    assert!(matches!(details(DAY, now() - DAY), Err(Error::NotYetValid { .. })));
}

#[test]
fn version_2_networks_are_sorted_and_unique() {
    let list = vec!["fd00:42::5/64", "10.43.0.5/16", "10.42.0.5/16", "10.42.0.5/16"];
    let issued =
        Trial { networks: list, versions: &[Version::V2], ..Trial::new() }.issue(&authority()).unwrap();
    let expected = networks(&["10.42.0.5/16", "10.43.0.5/16", "fd00:42::5/64"]);
    assert_eq!(issued[0].certificate.details().networks, expected);
}

#[test]
fn version_1_beside_version_2_takes_the_ipv4_half() {
    let issued = Trial {
        networks: vec!["fd00:42::5/64", "10.42.0.5/16"],
        unsafe_networks: vec!["192.168.9.0/24", "fd00:9::/64"],
        ..Trial::new()
    }
    .issue(&authority())
    .unwrap();
    let (v1, v2) = (issued[0].certificate.details(), issued[1].certificate.details());
    assert_eq!(v1.networks, networks(&["10.42.0.5/16"]));
    assert_eq!(v1.unsafe_networks, networks(&["192.168.9.0/24"]));
    assert_eq!((v2.networks.len(), v2.unsafe_networks.len()), (2, 2));
    // Nebula refuses a pair of certificates that disagree on these.
    assert_eq!((v1.networks[0], &v1.public_key), (v2.networks[0], &v2.public_key));
}

#[test]
fn requests_that_nebula_would_refuse_are_refused() {
    assert!(matches!(refused(|t| t.versions = &[]), Error::NoVersion));
    assert!(matches!(refused(|t| t.name.clear()), Error::Name { length: 0 }));
    assert!(matches!(refused(|t| t.name = "n".repeat(254)), Error::Name { length: 254 }));
    assert!(matches!(refused(|t| t.name = "a\nb".into()), Error::Name { .. }));
    assert!(matches!(refused(|t| t.groups = vec!["web", ""]), Error::Group { .. }));
    assert!(matches!(refused(|t| t.curve = Curve::P256), Error::CurveMismatch { .. }));
    assert!(matches!(refused(|t| t.networks.clear()), Error::NotOneIpv4 { count: 0 }));
    assert!(matches!(refused(|t| t.networks.push("10.43.0.5/16")), Error::NotOneIpv4 { count: 2 }));
    assert!(matches!(refused(|t| t.networks = vec!["0.0.0.0/16"]), Error::Network { .. }));
    let v1_alone = refused(|t| {
        t.versions = &[Version::V1];
        t.networks.push("fd00:42::5/64");
    });
    assert!(matches!(v1_alone, Error::Ipv6 { .. }));
    let v2 = |list: &'static [&str]| {
        refused(|t| {
            t.versions = &[Version::V2];
            t.networks = list.to_vec();
            t.unsafe_networks = vec!["192.168.9.0/24"];
        })
    };
    assert!(matches!(v2(&[]), Error::NoNetwork { .. }));
    // One kind of error with several reasons: the message tells them apart.
    for (list, reason) in [
        (&["10.42.0.5/16", "::/64"][..], "other than zero"),
        (&["10.42.0.5/16", "::ffff:10.42.0.5/112"], "mapped into IPv6"),
        (&["fd00:42::5/64"], "address families it has"),
    ] {
        let message = v2(list).to_string();
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn an_authority_grants_nothing_outside_its_limits() {
    let new = NewAuthority {
        networks: &networks(&["10.42.0.0/20"]),
        unsafe_networks: &networks(&["192.168.0.0/16"]),
        groups: &groups(&["web", "admin"]),
        ..NewAuthority::new("home", DAY)
    };
    let ca = CertificateAuthority::create(&new, now()).unwrap();
    let try_with = |network, behind, group| {
        let (networks, unsafe_networks, groups) = (vec![network], vec![behind], vec![group]);
        Trial { networks, unsafe_networks, groups, ..Trial::new() }.issue(&ca)
    };
    assert_eq!(try_with("10.42.1.7/20", "192.168.9.0/24", "web").unwrap().len(), 2);
    let wide = try_with("10.42.1.7/16", "192.168.9.0/24", "web");
    assert!(matches!(wide, Err(Error::NetworkNotAllowed { .. })));
    let behind = try_with("10.42.1.7/20", "172.16.0.0/24", "web");
    assert!(matches!(behind, Err(Error::NetworkNotAllowed { .. })));
    let group = try_with("10.42.1.7/20", "192.168.9.0/24", "root");
    assert!(matches!(group, Err(Error::GroupNotAllowed { .. })));
}

#[test]
fn a_certificate_too_large_for_nebula_is_refused() {
    let group: &'static str = "g".repeat(1000).leak();
    let error =
        Trial { groups: vec![group; 70], versions: &[Version::V2], ..Trial::new() }.issue(&authority());
    assert!(matches!(error, Err(Error::TooLarge { .. })));
}
