//! Short texts for the holder of a shared secret, on a connection that others may read: AES-256-GCM under a
//! key that is derived from the secret by HMAC-SHA256, so that a signature never helps to open a text.

use openssl::rand::rand_bytes;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};

use crate::mac;

/// Names the use of the derived key, and its version.
const LABEL: &[u8] = b"pg_nebula seal 1";
/// Random, as GCM has it. One secret seals far fewer than the 2^32 texts for which this is safe.
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Why a text cannot be sealed or opened. Messages never contain the text or the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Shorter than any sealed text.
    #[error("this is no sealed text")]
    TooShort,
    /// Sealed with another secret, for another holder, or changed on the way.
    #[error("this was not sealed with the secret that is here, or not for this use")]
    Forged,
    /// OpenSSL failed.
    #[error("cannot seal a text")]
    Cryptography,
}

/// Seals `text`, which opens only with the same `secret` and `bound_to`: nonce, sealed text, tag.
///
/// # Errors
/// [`SealError::Cryptography`].
pub fn seal(secret: &[u8], bound_to: &[u8], text: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    let mut tag = [0; TAG_BYTES];
    rand_bytes(&mut nonce).map_err(|_| SealError::Cryptography)?;
    let sealed = encrypt_aead(Cipher::aes_256_gcm(), &key(secret)?, Some(&nonce), bound_to, text, &mut tag)
        .map_err(|_| SealError::Cryptography)?;
    Ok([&nonce[..], &sealed, &tag].concat())
}

/// Opens a text that [`seal`] made.
///
/// # Errors
/// [`SealError::TooShort`], [`SealError::Forged`].
pub fn open(secret: &[u8], bound_to: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES).ok_or(SealError::TooShort)?;
    let end = rest.len().checked_sub(TAG_BYTES).ok_or(SealError::TooShort)?;
    let (sealed, tag) = rest.split_at(end);
    decrypt_aead(Cipher::aes_256_gcm(), &key(secret)?, Some(nonce), bound_to, sealed, tag)
        .map_err(|_| SealError::Forged)
}

fn key(secret: &[u8]) -> Result<Vec<u8>, SealError> {
    mac(secret, LABEL).map_err(|_| SealError::Cryptography)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_opens_only_with_its_secret_and_for_its_use() {
        let (secret, text) = ([7; 32], [9; 32]);
        let sealed = seal(&secret, b"peer 1", &text).unwrap();
        assert_eq!(sealed.len(), NONCE_BYTES + text.len() + TAG_BYTES);
        assert_eq!(open(&secret, b"peer 1", &sealed).unwrap(), text);
        assert_eq!(open(&[8; 32], b"peer 1", &sealed), Err(SealError::Forged));
        assert_eq!(open(&secret, b"peer 2", &sealed), Err(SealError::Forged));
        assert_ne!(seal(&secret, b"peer 1", &text).unwrap(), sealed, "each has a nonce of its own");
    }

    #[test]
    fn a_changed_or_shortened_text_does_not_open() {
        let sealed = seal(&[7; 32], b"", b"text").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&[7; 32], b"", &changed), Err(SealError::Forged), "byte {at}");
            let expected = if at < NONCE_BYTES + TAG_BYTES { SealError::TooShort } else { SealError::Forged };
            assert_eq!(open(&[7; 32], b"", &sealed[..at]), Err(expected), "{at} bytes");
        }
    }
}
