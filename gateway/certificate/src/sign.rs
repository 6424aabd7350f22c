//! The signing key of an authority: Ed25519 for Curve25519 overlays, ECDSA for P256 ones, in memory or in a
//! token.

use openssl::ec::EcKey;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use zeroize::Zeroizing;

use crate::pem::banner;
use crate::token::TokenKey;
use crate::{Curve, Error, p256};

/// OpenSSL wipes the key when it is dropped. Without `Debug`, so that no log can show it.
pub(crate) enum SigningKey {
    Ed25519(PKey<Private>),
    P256(EcKey<Private>),
    Token(Box<TokenKey>),
}

impl SigningKey {
    pub(crate) fn generate(curve: Curve) -> Result<Self, Error> {
        Ok(match curve {
            Curve::Curve25519 => Self::Ed25519(PKey::generate_ed25519()?),
            Curve::P256 => Self::P256(p256::generate()?),
        })
    }

    /// Reads what nebula-cert stores: seed and public key (64 bytes) for Ed25519, the scalar (32 bytes) for
    /// P256.
    ///
    /// # Errors
    /// [`Error::KeySize`], [`Error::PrivateKeyDamaged`].
    pub(crate) fn from_raw(curve: Curve, raw: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "the authority's private key";
        match curve {
            Curve::Curve25519 => {
                let Some((seed, public)) = raw.split_first_chunk::<32>().filter(|_| raw.len() == 64) else {
                    return Err(Error::KeySize { what: WHAT, seen: raw.len(), wanted: "64 (Ed25519)" });
                };
                let key = PKey::private_key_from_raw_bytes(seed, Id::ED25519)?;
                if key.raw_public_key()? != public {
                    return Err(Error::PrivateKeyDamaged);
                }
                Ok(Self::Ed25519(key))
            }
            Curve::P256 if raw.len() == 32 => Ok(Self::P256(p256::private_key(raw)?)),
            Curve::P256 => Err(Error::KeySize { what: WHAT, seen: raw.len(), wanted: "32 (P256)" }),
        }
    }

    /// The bytes that [`Self::from_raw`] reads.
    pub(crate) fn to_raw(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        match self {
            Self::Ed25519(key) => {
                let seed = Zeroizing::new(key.raw_private_key()?);
                Ok(Zeroizing::new([seed.as_slice(), &key.raw_public_key()?].concat()))
            }
            Self::P256(key) => Ok(p256::private_bytes(key)?),
            Self::Token(_) => Err(Error::TokenKeyStays),
        }
    }

    pub(crate) fn curve(&self) -> Curve {
        match self {
            Self::Ed25519(_) => Curve::Curve25519,
            Self::P256(_) => Curve::P256,
            Self::Token(key) => key.curve(),
        }
    }

    /// Banners of its PEM form: `(plain, encrypted)`.
    pub(crate) fn banners(curve: Curve) -> (&'static str, &'static str) {
        match curve {
            Curve::Curve25519 => (banner::ED25519_PRIVATE, banner::ED25519_ENCRYPTED),
            Curve::P256 => (banner::ECDSA_PRIVATE, banner::ECDSA_ENCRYPTED),
        }
    }

    /// The key its certificate carries: 32 or 65 bytes.
    pub(crate) fn public(&self) -> Result<Vec<u8>, ErrorStack> {
        match self {
            Self::Ed25519(key) => key.raw_public_key(),
            Self::P256(key) => p256::public_bytes(key),
            Self::Token(key) => Ok(key.public().to_vec()),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Ed25519(key) => Ok(Signer::new_without_digest(key)?.sign_oneshot_to_vec(message)?),
            Self::P256(key) => Ok(p256::sign(key, message)?),
            Self::Token(key) => key.sign(message),
        }
    }
}
