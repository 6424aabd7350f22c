//! Encoding, decoding, signatures and fingerprints, byte for byte.

use super::{NOW, bytes, groups, networks, now, parsed, text, vector, vectors};
use crate::sign::SigningKey;
use crate::{
    Certificate, CertificateAuthority, Curve, Details, Error, Version, raw_signature, v1, v2, verify,
};

const NAMES: [&str; 8] =
    ["ca v1", "host v1", "ca v2", "host v2", "p256 ca v1", "p256 host v1", "p256 ca v2", "p256 host v2"];

/// 2026-01-01 and 2027-01-01.
const START: i64 = 1_767_225_600;
const END: i64 = 1_798_761_600;

/// The fields that nebula's code was given to make the vectors.
fn fields(name: &str) -> Details {
    let version = if name.ends_with('1') { Version::V1 } else { Version::V2 };
    let v2 = version == Version::V2;
    let (is_ca, p256) = (name.contains("ca "), name.starts_with("p256"));
    let key = match (p256, is_ca) {
        (false, true) => "ca_pub",
        (false, false) => "host_pub",
        (true, true) => "p256 ca pub",
        (true, false) => "p256 host pub",
    };
    let issuer = vector(&name.replace("host", "ca"));
    let with_v6 = |v4, v6| if v2 { networks(&[v4, v6]) } else { networks(&[v4]) };
    let blank = Details {
        version,
        name: String::new(),
        networks: vec![],
        unsafe_networks: vec![],
        groups: vec![],
        is_ca,
        not_before: START,
        not_after: END,
        curve: if p256 { Curve::P256 } else { Curve::Curve25519 },
        public_key: bytes(&vectors()["keys"], key),
        issuer: (!is_ca).then(|| bytes(&issuer, "fingerprint").try_into().unwrap()),
    };
    match (p256, is_ca) {
        (true, true) => Details { name: "p256ca".into(), ..blank },
        (true, false) => Details { name: "p256host".into(), networks: networks(&["10.42.1.9/16"]), ..blank },
        (false, true) => Details {
            name: "ca".into(),
            networks: with_v6("10.42.0.0/16", "fd00:42::/64"),
            unsafe_networks: networks(&["192.168.0.0/16"]),
            groups: groups(&["g1", "g2"]),
            ..blank
        },
        (false, false) => Details {
            name: "host-1".into(),
            networks: with_v6("10.42.1.7/16", "fd00:42::7/64"),
            unsafe_networks: networks(&["192.168.9.0/24"]),
            groups: groups(&["g2", "g1"]),
            not_before: START + 3600,
            not_after: END - 3600,
            ..blank
        },
    }
}

fn signing_key(curve: Curve) -> SigningKey {
    let name = if curve == Curve::P256 { "p256 ca priv" } else { "ca_ed25519_priv" };
    SigningKey::from_raw(curve, &bytes(&vectors()["keys"], name)).unwrap()
}

#[test]
fn fields_encode_to_the_same_bytes() {
    for name in NAMES {
        let (vector, details) = (vector(name), fields(name));
        let signature = bytes(&vector, "signature");
        let encoded = match details.version {
            Version::V1 => v1::assemble(&v1::signed_bytes(&details).unwrap(), &signature),
            Version::V2 => v2::assemble(&details, &v2::signed_bytes(&details).unwrap(), &signature).unwrap(),
        };
        assert_eq!(hex::encode(encoded), text(&vector, "der"), "{name}");
    }
}

#[test]
fn ed25519_signatures_are_identical() {
    for name in NAMES.into_iter().filter(|name| !name.starts_with("p256")) {
        let signed = Certificate::sign(fields(name), &signing_key(Curve::Curve25519)).unwrap();
        assert_eq!(signed.pem(), text(&vector(name), "pem"), "{name}");
    }
}

#[test]
fn p256_signatures_verify_and_have_a_low_s() {
    for name in NAMES.into_iter().filter(|name| name.starts_with("p256")) {
        // Half of all raw signatures have a high s: of sixteen at least one has it, but for a chance of 1 in
        // 65 536.
        for _ in 0..16 {
            let signed = Certificate::sign(fields(name), &signing_key(Curve::P256)).unwrap();
            let public = bytes(&vectors()["keys"], "p256 ca pub");
            assert!(
                raw_signature::verify(Curve::P256, &public, signed.signed(), signed.signature()).unwrap()
            );
            // DER: 30 length 02 length-of-r r 02 length-of-s s; a high s is at least 7fff…, which begins so.
            let s_at = 4 + usize::from(signed.signature()[3]) + 2;
            let s = &signed.signature()[s_at..];
            assert!(s.len() < 32 || (s.len() == 32 && s[0] <= 0x7f), "{name}: {}", hex::encode(s));
        }
    }
}

#[test]
fn certificates_decode_to_the_fields() {
    for name in NAMES {
        let (vector, certificate) = (vector(name), parsed(name));
        assert_eq!(certificate.details(), &fields(name), "{name}");
        assert_eq!(hex::encode(certificate.signature()), text(&vector, "signature"), "{name}");
        assert_eq!(hex::encode(certificate.encoded()), text(&vector, "der"), "{name}");
        assert_eq!(certificate.pem(), text(&vector, "pem"), "{name}");
    }
}

#[test]
fn fingerprints_and_alternates_match() {
    for name in NAMES {
        let (vector, certificate) = (vector(name), parsed(name));
        assert_eq!(hex::encode(certificate.fingerprint()), text(&vector, "fingerprint"), "{name}");
        let alternate = certificate.alternate_fingerprint().map(hex::encode).unwrap_or_default();
        assert_eq!(alternate, text(&vector, "alt"), "{name}");
    }
}

#[test]
fn hosts_verify_against_their_authority_only() {
    for name in NAMES.into_iter().filter(|name| name.contains("host")) {
        let own = parsed(&name.replace("host", "ca"));
        verify(&parsed(name), std::slice::from_ref(&own), now()).unwrap();
        let others: Vec<_> = NAMES.iter().filter(|n| n.contains("ca ")).map(|n| parsed(n)).collect();
        let others: Vec<_> = others.into_iter().filter(|other| *other != own).collect();
        assert!(matches!(verify(&parsed(name), &others, now()), Err(Error::UnknownIssuer { .. })), "{name}");
    }
}

#[test]
fn a_certificate_with_a_changed_byte_does_not_verify() {
    for name in NAMES.into_iter().filter(|name| name.contains("host")) {
        let (der, authority) = (bytes(&vector(name), "der"), [parsed(&name.replace("host", "ca"))]);
        let version = fields(name).version;
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1;
            let trusted = Certificate::decode(version, &changed)
                .and_then(|certificate| verify(&certificate, &authority, now()));
            assert!(trusted.is_err(), "{name}, byte {at}");
        }
        for length in 0..der.len() {
            assert!(Certificate::decode(version, &der[..length]).is_err(), "{name}, cut at {length}");
        }
        let longer = [der.as_slice(), &[0]].concat();
        assert!(Certificate::decode(version, &longer).is_err(), "{name}, one byte more");
    }
}

#[test]
fn non_canonical_encodings_are_refused() {
    // A field written out although it is false: Go would read it, and hash something else.
    let details = fields("host v1");
    let explicit = [v1::signed_bytes(&details).unwrap().as_slice(), &[0x40, 0]].concat();
    let encoded = v1::assemble(&explicit, &bytes(&vector("host v1"), "signature"));
    assert!(matches!(Certificate::decode(Version::V1, &encoded), Err(Error::Malformed { .. })));

    // OpenSSL ignores bytes after a signature, Go does not.
    let details = fields("p256 host v2");
    let signature = [bytes(&vector("p256 host v2"), "signature").as_slice(), &[0]].concat();
    let encoded = v2::assemble(&details, &v2::signed_bytes(&details).unwrap(), &signature).unwrap();
    let certificate = Certificate::decode(Version::V2, &encoded).unwrap();
    assert!(matches!(verify(&certificate, &[parsed("p256 ca v2")], now()), Err(Error::Signature { .. })));
}

#[test]
fn fields_of_later_versions_stay_signed() {
    let details = fields("host v2");
    let key = signing_key(Curve::Curve25519);
    // Put a field of tag 88 after the issuer, inside the details.
    let plain = v2::signed_bytes(&details).unwrap();
    let content = &plain[2..plain.len() - 1 - details.public_key.len()];
    let mut signed = Vec::new();
    v2::push(&mut signed, v2::DETAILS, &[content, &[0x88, 1, 7]].concat()).unwrap();
    signed.push(0);
    signed.extend_from_slice(&details.public_key);
    let encoded = v2::assemble(&details, &signed, &key.sign(&signed).unwrap()).unwrap();
    let certificate = Certificate::decode(Version::V2, &encoded).unwrap();
    assert_eq!(certificate.details(), &details);
    assert_eq!(certificate.encoded(), encoded);
    verify(&certificate, &[parsed("ca v2")], now()).unwrap();
}

#[test]
fn time_and_limits_are_checked() {
    let authority = [parsed("ca v1")];
    let good = Details { not_before: NOW - 10, not_after: NOW + 10, ..fields("host v1") };
    let check = |change: &dyn Fn(&mut Details)| {
        let mut details = good.clone();
        change(&mut details);
        let certificate = Certificate::sign(details, &signing_key(Curve::Curve25519))?;
        verify(&certificate, &authority, now())
    };
    check(&|_| {}).unwrap();
    check(&|d| d.not_after = NOW).unwrap();
    check(&|d| d.not_before = NOW).unwrap();
    assert!(matches!(check(&|d| d.not_after = NOW - 1), Err(Error::Expired { .. })));
    assert!(matches!(check(&|d| d.not_before = NOW + 1), Err(Error::NotYetValid { .. })));
    assert!(matches!(check(&|d| d.not_after = END + 1), Err(Error::OutsideValidity { .. })));
    assert!(matches!(check(&|d| d.not_before = START - 1), Err(Error::OutsideValidity { .. })));
    assert!(matches!(check(&|d| d.groups = groups(&["root"])), Err(Error::GroupNotAllowed { .. })));
    let outside = |list: &'static [&str]| check(&move |d| d.networks = networks(list));
    outside(&["10.42.255.254/16"]).unwrap();
    outside(&["10.42.1.7/24"]).unwrap();
    assert!(matches!(outside(&["10.43.0.1/16"]), Err(Error::NetworkNotAllowed { .. })));
    assert!(matches!(outside(&["10.42.1.7/15"]), Err(Error::NetworkNotAllowed { .. })));
    let wider = check(&|d| d.unsafe_networks = networks(&["192.168.0.0/15"]));
    assert!(matches!(wider, Err(Error::NetworkNotAllowed { .. })));
}

#[test]
fn an_encrypted_key_opens_only_with_its_passphrase() {
    let all = vectors();
    let (key, passphrase) = (text(&all, "encrypted_ca_key_pem"), text(&all, "encrypted_ca_key_passphrase"));
    let ca = text(&vector("ca v1"), "pem").to_owned();
    let opened = crate::passphrase::decrypt(&crate::pem::decode_one(key, "a key").unwrap().body, passphrase);
    SigningKey::from_raw(Curve::Curve25519, &opened.unwrap()).unwrap();
    let wrong = CertificateAuthority::load(&ca, key, Some("Passphrase"));
    assert!(matches!(wrong, Err(Error::PassphraseWrong)));
    for none in [None, Some("")] {
        assert!(matches!(CertificateAuthority::load(&ca, key, none), Err(Error::PassphraseMissing)));
    }
}
