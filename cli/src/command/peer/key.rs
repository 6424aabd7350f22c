//! Key pairs of WireGuard: X25519, 32 bytes in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::pkey::{Id, PKey, Private};
use zeroize::Zeroizing;

use crate::error::{Code, Error, Result, UsageError};

/// A key pair; it cannot be printed by accident, because it has no `Debug`.
pub(crate) struct KeyPair {
    private: Zeroizing<String>,
    pub(crate) public: String,
}

impl KeyPair {
    pub(super) fn generate() -> Result<Self> {
        PKey::generate_x25519()
            .and_then(|key| Self::from_openssl(&key))
            .map_err(|error| Error::new(Code::Io, format!("cannot make a key pair: {error}")))
    }

    /// Takes a private key in base64.
    pub(super) fn from_private(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
        let key = PKey::private_key_from_raw_bytes(&bytes, Id::X25519).ok()?;
        Self::from_openssl(&key).ok()
    }

    fn from_openssl(key: &PKey<Private>) -> std::result::Result<Self, openssl::error::ErrorStack> {
        let private = Zeroizing::new(key.raw_private_key()?);
        let private = Zeroizing::new(STANDARD.encode(&*private));
        Ok(Self { private, public: STANDARD.encode(key.raw_public_key()?) })
    }

    pub(crate) fn private(&self) -> &str {
        &self.private
    }
}

/// Parses a public key: 32 bytes in base64.
pub(super) fn parse_public_key(text: &str) -> std::result::Result<String, UsageError> {
    match STANDARD.decode(text) {
        Ok(bytes) if bytes.len() == 32 => Ok(text.to_owned()),
        _ => Err(UsageError::new("a WireGuard key is 44 characters of base64, as wg pubkey prints it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of RFC 7748, section 6.1 (Alice).
    const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

    #[test]
    fn the_public_key_follows_from_the_private_one() {
        assert_eq!(KeyPair::from_private(PRIVATE).unwrap().public, PUBLIC);
        for wrong in ["", "AAAA", "not base64", &PRIVATE[1..]] {
            assert!(KeyPair::from_private(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn generated_keys_are_clamped_and_differ() {
        let [one, other] = [(); 2].map(|()| KeyPair::generate().unwrap());
        assert_ne!(one.public, other.public);
        let bytes = STANDARD.decode(one.private()).unwrap();
        assert_eq!((bytes[0] & 7, bytes[31] & 0xc0), (0, 0x40));
        assert_eq!(KeyPair::from_private(one.private()).unwrap().public, one.public);
    }

    #[test]
    fn public_keys_are_32_bytes() {
        assert!(parse_public_key(PUBLIC).is_ok());
        for wrong in ["", "AAAA", &PUBLIC[..43], "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n"] {
            assert!(parse_public_key(wrong).is_err(), "{wrong}");
        }
    }
}
