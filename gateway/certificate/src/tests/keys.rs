//! Keys in every usual form, and the files of authorities.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{DAY, authority, bytes, networks, now, text, vector, vectors};
use crate::pem::{self, banner};
use crate::{
    Certificate, CertificateAuthority, Cost, Curve, Error, KeyPair, NewAuthority, PublicKey, Version,
};

/// Cheap enough for a test.
const CHEAP: Cost = Cost { memory: 64, iterations: 1, parallelism: 4 };

fn host_key() -> Vec<u8> {
    bytes(&vectors()["keys"], "host_pub")
}

fn p256_key() -> Vec<u8> {
    bytes(&vectors()["keys"], "p256 host pub")
}

#[test]
fn a_public_key_is_read_in_every_usual_form() {
    for (curve, key, label) in [
        (Curve::Curve25519, host_key(), banner::X25519_PUBLIC),
        (Curve::P256, p256_key(), banner::P256_PUBLIC),
    ] {
        let base64 = STANDARD.encode(&key);
        let pem = pem::encode(label, &key).to_string();
        for text in
            [&pem, &hex::encode(&key), &hex::encode_upper(&key), &base64, base64.trim_end_matches('=')]
        {
            let read = PublicKey::parse(&format!(" {text}\n")).unwrap();
            assert_eq!((read.curve(), read.bytes()), (curve, key.as_slice()));
            assert_eq!(read.pem(), pem);
        }
    }
}

#[test]
fn an_error_of_a_wrong_size_names_both_sizes() {
    for size in [1, 9, 31, 33, 64, 66, 11_000] {
        let message = PublicKey::parse(&STANDARD.encode(vec![7; size])).unwrap_err().to_string();
        assert!(message.contains(&format!("is {size} bytes long, wanted 32")), "{message}");
    }
    let wrong_banner = PublicKey::parse(&pem::encode(banner::P256_PUBLIC, &host_key()));
    assert!(matches!(wrong_banner, Err(Error::KeySize { seen: 32, wanted: "65 (P256, uncompressed)", .. })));
}

#[test]
fn weak_keys_are_refused() {
    let mut one = [0; 32];
    one[0] = 1;
    // A point of order 8.
    let eight = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
    for weak in [hex::encode([0; 32]), hex::encode(one), eight.to_owned()] {
        assert!(matches!(PublicKey::parse(&weak), Err(Error::WeakKey)), "{weak}");
    }
    let mut off_curve = p256_key();
    off_curve[64] ^= 1;
    let mut hybrid = p256_key();
    hybrid[0] = 6 | hybrid[64] & 1;
    for bad in [off_curve, hybrid, vec![0; 65]] {
        assert!(matches!(PublicKey::from_bytes(&bad), Err(Error::NotOnCurve)));
    }
}

#[test]
fn private_keys_and_keys_of_authorities_are_refused_by_name() {
    let parse = |label| PublicKey::parse(&pem::encode(label, &host_key()));
    assert!(matches!(parse(banner::X25519_PRIVATE), Err(Error::PrivateKeySent)));
    assert!(matches!(parse(banner::ED25519_ENCRYPTED), Err(Error::PrivateKeySent)));
    assert!(matches!(parse(banner::ED25519_PUBLIC), Err(Error::AuthorityKeySent)));
    assert!(matches!(parse(banner::ECDSA_PUBLIC), Err(Error::AuthorityKeySent)));
    assert!(matches!(parse(banner::CERTIFICATE_V1), Err(Error::UnexpectedBlock { .. })));
    let two = pem::encode(banner::X25519_PUBLIC, &host_key()).repeat(2);
    assert!(matches!(PublicKey::parse(&two), Err(Error::BlockCount { found: 2, .. })));
    for text in ["", "no key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"] {
        assert!(matches!(PublicKey::parse(text), Err(Error::PublicKeyText)), "{text}");
    }
}

#[test]
fn a_key_pair_is_read_back_from_its_file() {
    for curve in [Curve::Curve25519, Curve::P256] {
        let pair = KeyPair::generate(curve).unwrap();
        let again = KeyPair::parse(&pair.private_pem()).unwrap();
        assert_eq!(again.public_key(), pair.public_key());
        assert_eq!(&PublicKey::parse(&pair.public_key().pem()).unwrap(), pair.public_key());
        assert_ne!(KeyPair::generate(curve).unwrap().public_key(), pair.public_key());
    }
    for (name, label, public) in [
        ("host_priv", banner::X25519_PRIVATE, host_key()),
        ("p256 host priv", banner::P256_PRIVATE, p256_key()),
    ] {
        let pem = pem::encode(label, &bytes(&vectors()["keys"], name));
        assert_eq!(KeyPair::parse(&pem).unwrap().public_key().bytes(), public);
    }
    let zero = pem::encode(banner::P256_PRIVATE, &[0; 32]);
    assert!(matches!(KeyPair::parse(&zero), Err(Error::PrivateKeyDamaged)));
    let beyond_the_order = pem::encode(banner::P256_PRIVATE, &[0xff; 32]);
    assert!(matches!(KeyPair::parse(&beyond_the_order), Err(Error::PrivateKeyDamaged)));
}

#[test]
fn an_authority_is_read_back_from_its_files() {
    for curve in [Curve::Curve25519, Curve::P256] {
        for version in [Version::V1, Version::V2] {
            let new = NewAuthority { version, curve, ..NewAuthority::new("home", DAY) };
            let ca = CertificateAuthority::create(&new, now()).unwrap();
            let plain = CertificateAuthority::load(&ca.pem(), &ca.key_pem().unwrap(), None).unwrap();
            assert_eq!(plain.certificate(), ca.certificate());
            let sealed = ca.encrypted_key_pem("open sesame", CHEAP).unwrap();
            let opened = CertificateAuthority::load(&ca.pem(), &sealed, Some("open sesame")).unwrap();
            assert_eq!(*opened.key_pem().unwrap(), *ca.key_pem().unwrap());
            let wrong = CertificateAuthority::load(&ca.pem(), &sealed, Some("open simsim"));
            assert!(matches!(wrong, Err(Error::PassphraseWrong)));
        }
    }
}

#[test]
fn of_several_certificates_the_one_of_the_key_signs() {
    let (old, new) = (authority(), authority());
    let both = [old.pem(), new.pem()].concat();
    let loaded = CertificateAuthority::load(&both, &new.key_pem().unwrap(), None).unwrap();
    assert_eq!(loaded.fingerprint(), new.fingerprint());
    assert_eq!(loaded.trusted().len(), 2);
    let strange = CertificateAuthority::load(&old.pem(), &new.key_pem().unwrap(), None);
    assert!(matches!(strange, Err(Error::KeyMismatch { .. })));
}

#[test]
fn a_file_without_an_authority_does_not_load() {
    let key = authority().key_pem().unwrap();
    let host = CertificateAuthority::load(text(&vector("host v1"), "pem"), &key, None);
    assert!(matches!(host, Err(Error::NotAuthority { .. })));
    let swapped = CertificateAuthority::load(&key, &key, None);
    assert!(matches!(swapped, Err(Error::UnexpectedBlock { .. })));
    let mut forged = bytes(&vector("ca v1"), "der");
    *forged.last_mut().unwrap() ^= 1;
    let forged = CertificateAuthority::load(&pem::encode(banner::CERTIFICATE_V1, &forged), &key, None);
    assert!(matches!(forged, Err(Error::Signature { .. })));
    let own_key = authority();
    let mut details = own_key.certificate().details().clone();
    (details.is_ca, details.networks) = (false, networks(&["10.42.0.5/16"]));
    let self_signed = Certificate::sign(details, &own_key.key).unwrap().pem();
    let self_signed = CertificateAuthority::load(&self_signed, &own_key.key_pem().unwrap(), None);
    assert!(matches!(self_signed, Err(Error::NotAuthority { .. })));
    let empty = CertificateAuthority::load("", &key, None);
    assert!(matches!(empty, Err(Error::BlockCount { found: 0, .. })));
}

#[test]
fn a_damaged_private_key_does_not_load() {
    let ca = authority();
    let mut raw = ca.key.to_raw().unwrap().to_vec();
    raw[40] ^= 1;
    let load =
        |raw: &[u8]| CertificateAuthority::load(&ca.pem(), &pem::encode(banner::ED25519_PRIVATE, raw), None);
    assert!(matches!(load(&raw), Err(Error::PrivateKeyDamaged)));
    assert!(matches!(load(&raw[..32]), Err(Error::KeySize { seen: 32, .. })));
}

#[test]
fn costs_out_of_range_are_errors() {
    for cost in
        [Cost { memory: u32::MAX, ..CHEAP }, Cost { memory: 1, ..CHEAP }, Cost { iterations: 0, ..CHEAP }]
    {
        let sealed = authority().encrypted_key_pem("open sesame", cost);
        assert!(matches!(sealed, Err(Error::Encryption { .. })), "{cost:?}");
    }
}

#[test]
fn debug_output_shows_no_key() {
    let ca = authority();
    let seed = format!("{:?}", &ca.key.to_raw().unwrap()[..32]);
    let shown = format!("{ca:?}");
    assert!(!shown.contains(seed.trim_matches(['[', ']'])));
    assert!(shown.contains("home"));
}

#[test]
fn an_authority_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync + 'static>(_: &T) {}
    shareable(&authority());
}
