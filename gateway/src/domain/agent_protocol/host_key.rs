//! Host keys, which sign the calls of a device.

use nebula_api::dnapi::{HOST_ED25519_BANNER, HOST_P256_BANNER};
use nebula_certificate::Curve;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::sign::Verifier;
use spki::der::Document;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// Raw bytes of a host key in the protocol's PEM: 32 of Ed25519, 65 of an uncompressed P256 point; `None` for
/// a key of another curve. OpenSSL would try all its decoders and take ten times as long.
pub(super) fn parse(pem: &[u8], curve: Curve) -> Option<Vec<u8>> {
    let (banner, document) = Document::from_pem(std::str::from_utf8(pem).ok()?).ok()?;
    let key: SubjectPublicKeyInfoRef<'_> = document.decode_msg().ok()?;
    let raw = key.subject_public_key.as_bytes()?;
    let is_one = match curve {
        Curve::Curve25519 => banner == HOST_ED25519_BANNER && key.algorithm.oid == ED25519 && raw.len() == 32,
        Curve::P256 => {
            banner == HOST_P256_BANNER
                && key.algorithm.oid == EC
                && key.algorithm.parameters_oid().ok() == Some(P256)
                && raw.len() == 65
                && point(raw).is_ok()
        }
    };
    is_one.then(|| raw.to_vec())
}

/// The key of a point; fails if the point is not on the curve.
fn point(raw: &[u8]) -> Result<EcKey<Public>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let point = EcPoint::from_bytes(&group, raw, &mut *BigNumContext::new()?)?;
    EcKey::from_public_key(&group, &point)
}

/// Whether a raw key made this signature over a text.
pub(super) fn verifies(key: &[u8], text: &[u8], signature: &[u8]) -> bool {
    check(key, text, signature).unwrap_or(false)
}

fn check(key: &[u8], text: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
    if key.len() == 32 {
        let key = PKey::public_key_from_raw_bytes(key, Id::ED25519)?;
        return Verifier::new_without_digest(&key)?.verify_oneshot(signature, text);
    }
    let key = PKey::from_ec_key(point(key)?)?;
    Verifier::new(MessageDigest::sha256(), &key)?.verify_oneshot(signature, text)
}

#[cfg(test)]
mod tests {
    use openssl::sign::Signer;

    use super::*;

    #[test]
    fn keys_of_either_curve_are_read_and_verify() {
        let ed25519 = PKey::generate_ed25519().unwrap();
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let p256 = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        for (pair, curve, banner, digest) in [
            (ed25519, Curve::Curve25519, HOST_ED25519_BANNER, None),
            (p256, Curve::P256, HOST_P256_BANNER, Some(MessageDigest::sha256())),
        ] {
            let pem = String::from_utf8(pair.public_key_to_pem().unwrap()).unwrap();
            assert_eq!(parse(pem.as_bytes(), curve), None, "another banner");
            let pem = pem.replace("PUBLIC KEY", banner);
            let raw = parse(pem.as_bytes(), curve).unwrap();
            let mut signer = match digest {
                Some(digest) => Signer::new(digest, &pair).unwrap(),
                None => Signer::new_without_digest(&pair).unwrap(),
            };
            let mut signature = signer.sign_oneshot_to_vec(b"text").unwrap();
            assert!(verifies(&raw, b"text", &signature));
            assert!(!verifies(&raw, b"texT", &signature));
            signature[10] ^= 1;
            assert!(!verifies(&raw, b"text", &signature));
            assert!(!verifies(&raw, b"text", b""));
        }
        let wrong = "-----BEGIN DEFINED HOST P256 PUBLIC KEY-----\nAAAA\n\
             -----END DEFINED HOST P256 PUBLIC KEY-----\n";
        assert_eq!(parse(wrong.as_bytes(), Curve::P256), None);
    }
}
