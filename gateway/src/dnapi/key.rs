//! Host keys: what signs the calls of a device.

use nebula_certificate::Curve;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, EcPoint, PointConversionForm};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::sign::Verifier;

use nebula_api::dnapi::{HOST_ED25519_BANNER, HOST_P256_BANNER};

/// Raw bytes of a host key in the protocol's PEM: 32 of Ed25519, 65 of an uncompressed P256 point. `None` when it is
/// not one of this curve.
pub(super) fn parse(pem: &[u8], curve: Curve) -> Option<Vec<u8>> {
    let banner = match curve {
        Curve::Curve25519 => HOST_ED25519_BANNER,
        Curve::P256 => HOST_P256_BANNER,
    };
    // PKIX under a name of its own.
    let text = std::str::from_utf8(pem).ok().filter(|text| text.contains(banner))?;
    let key = PKey::public_key_from_pem(text.replace(banner, "PUBLIC KEY").as_bytes()).ok()?;
    raw(&key, curve).ok().flatten()
}

fn raw(key: &PKey<Public>, curve: Curve) -> Result<Option<Vec<u8>>, ErrorStack> {
    match curve {
        Curve::Curve25519 if key.id() == Id::ED25519 => key.raw_public_key().map(Some),
        Curve::P256 if key.id() == Id::EC => {
            let key = key.ec_key()?;
            if key.group().curve_name() != Some(Nid::X9_62_PRIME256V1) {
                return Ok(None);
            }
            let form = PointConversionForm::UNCOMPRESSED;
            key.public_key().to_bytes(key.group(), form, &mut *BigNumContext::new()?).map(Some)
        }
        _ => Ok(None),
    }
}

/// Whether a signature over a text is by this key, given raw.
pub(super) fn verifies(key: &[u8], text: &[u8], signature: &[u8]) -> bool {
    check(key, text, signature).unwrap_or(false)
}

fn check(key: &[u8], text: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
    if key.len() == 32 {
        let key = PKey::public_key_from_raw_bytes(key, Id::ED25519)?;
        return Verifier::new_without_digest(&key)?.verify_oneshot(signature, text);
    }
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let point = EcPoint::from_bytes(&group, key, &mut *BigNumContext::new()?)?;
    let key = PKey::from_ec_key(EcKey::from_public_key(&group, &point)?)?;
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
        let wrong = "-----BEGIN DEFINED HOST P256 PUBLIC KEY-----\nAAAA\n-----END DEFINED HOST P256 PUBLIC KEY-----\n";
        assert_eq!(parse(wrong.as_bytes(), Curve::P256), None);
    }
}
