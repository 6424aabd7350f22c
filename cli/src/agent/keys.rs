//! Keys of the agent protocol: the device's key signs calls, the authorities' keys verify responses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nebula_certificate::{Curve, KeyPair, Zeroizing};
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::sign::{Signer, Verifier};

use nebula_api::dnapi::{HOST_ED25519_BANNER, HOST_P256_BANNER};

use crate::error::{Code, Error, Result};

/// Signs calls. OpenSSL wipes the key when it is dropped. Without `Debug`, so that it cannot be logged.
#[derive(Clone)]
pub(crate) struct HostKey(PKey<Private>);

impl HostKey {
    /// Generates a key for networks of this curve.
    pub(crate) fn generate(curve: Curve) -> Result<Self> {
        let made = match curve {
            Curve::Curve25519 => PKey::generate_ed25519(),
            Curve::P256 => EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)
                .and_then(|group| EcKey::generate(&group))
                .and_then(PKey::from_ec_key),
        };
        made.map(Self).map_err(|error| openssl_failed("make a host key", &error))
    }

    /// Parses the output of [`Self::private_pem`].
    pub(crate) fn parse(pem: &str) -> Result<Self> {
        let key = PKey::private_key_from_pem(pem.as_bytes());
        let known = |key: &PKey<Private>| matches!(key.id(), Id::ED25519 | Id::EC);
        key.ok().filter(known).map(Self).ok_or_else(|| {
            Error::new(Code::Damaged, "the host key is neither an Ed25519 nor a P256 key")
                .hint("Join again with a new code: nebulactl leave, then nebulactl join --code CODE")
        })
    }

    /// PKCS #8, for a file of mode 0600.
    pub(crate) fn private_pem(&self) -> Result<Zeroizing<String>> {
        let pem = self.0.private_key_to_pem_pkcs8();
        let text = pem.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        text.map(Zeroizing::new).map_err(|error| openssl_failed("write a host key", &error))
    }

    /// PKIX under the protocol's own banner.
    pub(crate) fn public_pem(&self) -> Result<Vec<u8>> {
        let pem = self.0.public_key_to_pem().map_err(|error| openssl_failed("write a host key", &error))?;
        let banner = if self.0.id() == Id::ED25519 { HOST_ED25519_BANNER } else { HOST_P256_BANNER };
        Ok(String::from_utf8_lossy(&pem).replace("PUBLIC KEY", banner).into_bytes())
    }

    /// Signs by Ed25519, or by ECDSA over SHA-256 in ASN.1.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signer = match self.0.id() {
            Id::ED25519 => Signer::new_without_digest(&self.0),
            _ => Signer::new(MessageDigest::sha256(), &self.0),
        };
        signer
            .and_then(|mut signer| signer.sign_oneshot_to_vec(message))
            .map_err(|error| openssl_failed("sign a call", &error))
    }
}

/// Public keys of the authorities that may sign responses.
#[derive(Clone)]
pub(crate) struct TrustedKeys(Vec<PKey<Public>>);

impl TrustedKeys {
    /// Parses concatenated PEM blocks of authorities' public keys.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut keys = Vec::new();
        for block in text.split_inclusive("-----END ").filter(|block| block.contains("-----BEGIN ")) {
            keys.push(trusted_key(block).ok_or_else(|| {
                Error::new(Code::Protocol, "the keys that sign answers cannot be read")
                    .hint("Compare the versions: nebulactl --version, nebulactl ping")
            })?);
        }
        if keys.is_empty() {
            return Err(Error::new(Code::Protocol, "the gateway named no key that signs its answers"));
        }
        Ok(Self(keys))
    }

    /// Whether one of the keys has signed exactly these bytes.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.iter().any(|key| {
            let verifier = match key.id() {
                Id::ED25519 => Verifier::new_without_digest(key),
                _ => Verifier::new(MessageDigest::sha256(), key),
            };
            // OpenSSL reports an error for a signature of another type or length; here it is just an invalid
            // signature.
            verifier.and_then(|mut verifier| verifier.verify_oneshot(signature, message)).unwrap_or_default()
        })
    }
}

/// Keys that belong to one configuration.
#[derive(Clone)]
pub(crate) struct Credential {
    /// Name of the device in calls.
    pub(crate) host_id: String,
    /// Counter of the configuration.
    pub(crate) counter: u64,
    pub(crate) key: HostKey,
    /// Verify responses.
    pub(crate) trusted: TrustedKeys,
}

/// Parses one PEM block.
fn trusted_key(block: &str) -> Option<PKey<Public>> {
    let (label, body) = block.split_once("-----BEGIN ")?.1.split_once("-----")?;
    let base64: String = body.trim_end_matches("-----END ").chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = STANDARD.decode(base64).ok()?;
    match label {
        "NEBULA ED25519 PUBLIC KEY" => PKey::public_key_from_raw_bytes(&bytes, Id::ED25519).ok(),
        "NEBULA ECDSA P256 PUBLIC KEY" => p256(&bytes).ok(),
        _ => None,
    }
}

fn p256(bytes: &[u8]) -> std::result::Result<PKey<Public>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let point = EcPoint::from_bytes(&group, bytes, &mut *BigNumContext::new()?)?;
    let key = EcKey::from_public_key(&group, &point)?;
    key.check_key()?;
    PKey::from_ec_key(key)
}

/// Generates a key pair for nebula.
pub(crate) fn nebula_key(curve: Curve) -> Result<KeyPair> {
    KeyPair::generate(curve).map_err(|error| Error::new(Code::Io, format!("cannot make a key pair: {error}")))
}

fn openssl_failed(what: &str, error: &ErrorStack) -> Error {
    Error::new(Code::Io, format!("cannot {what}: {error}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn authority_pem(key: &HostKey) -> String {
        let (label, bytes) = match key.0.id() {
            Id::ED25519 => ("ED25519", key.0.raw_public_key().unwrap()),
            // An uncompressed point is the last 65 bytes of the PKIX encoding.
            _ => ("ECDSA P256", key.0.public_key_to_der().unwrap().split_off(26)),
        };
        let body = STANDARD.encode(bytes);
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!(
            "-----BEGIN NEBULA {label} PUBLIC KEY-----\n{}\n-----END NEBULA {label} PUBLIC KEY-----\n",
            lines.join("\n")
        )
    }

    #[test]
    fn keys_of_both_curves_sign_and_verify() {
        let keys = [Curve::Curve25519, Curve::P256].map(|curve| HostKey::generate(curve).unwrap());
        let pem: String = keys.iter().map(authority_pem).collect();
        let trusted = TrustedKeys::parse(&pem).unwrap();
        for (key, banner) in keys.iter().zip([HOST_ED25519_BANNER, HOST_P256_BANNER]) {
            let again = HostKey::parse(&key.private_pem().unwrap()).unwrap();
            let signature = again.sign(b"message").unwrap();
            assert!(trusted.verify(b"message", &signature));
            assert!(!trusted.verify(b"massage", &signature));
            assert!(!trusted.verify(b"message", &signature[1..]));
            let public = String::from_utf8(key.public_pem().unwrap()).unwrap();
            assert!(public.starts_with(&format!("-----BEGIN {banner}-----\n")), "{public}");
            assert!(public.ends_with(&format!("-----END {banner}-----\n")), "{public}");
        }
        let stranger = HostKey::generate(Curve::Curve25519).unwrap();
        assert!(!trusted.verify(b"message", &stranger.sign(b"message").unwrap()));
    }

    #[test]
    fn malformed_authority_keys_are_refused() {
        let key = HostKey::generate(Curve::Curve25519).unwrap();
        let public = String::from_utf8(key.public_pem().unwrap()).unwrap();
        for wrong in ["", "nothing", public.as_str(), "-----BEGIN NEBULA ED25519 PUBLIC KEY-----\nAAAA\n"] {
            assert!(TrustedKeys::parse(wrong).is_err(), "{wrong}");
        }
    }
}
