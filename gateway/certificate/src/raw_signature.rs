//! Verification of raw signatures: Ed25519, or ECDSA on P256.

use openssl::pkey::{Id, PKey};
use openssl::sign::Verifier;

use crate::{Curve, Error, p256};

/// Whether an authority's public key made this signature.
///
/// # Errors
/// For a malformed public key; a wrong signature is `Ok(false)`.
pub(crate) fn verify(curve: Curve, public: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, Error> {
    match curve {
        // OpenSSL reports an error for a signature of the wrong length.
        Curve::Curve25519 if signature.len() != 64 => Ok(false),
        Curve::Curve25519 => {
            let key = PKey::public_key_from_raw_bytes(public, Id::ED25519)?;
            Ok(Verifier::new_without_digest(&key)?.verify_oneshot(signature, message)?)
        }
        Curve::P256 => Ok(p256::verify(&*p256::public_key(public)?, message, signature)?),
    }
}
