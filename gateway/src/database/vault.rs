//! Sealed secrets: what the database keeps for gateways and must not be able to read, nor anybody who has a dump.

use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use uuid::Uuid;

use super::derived_key::{Purpose, derive};
use crate::error::ApiError;

const NONCE: usize = 12;
const TAG: usize = 16;
/// Length of a node's secret.
pub(crate) const SECRET: usize = 32;

/// Seals with AES-256-GCM. The key never leaves this struct, which therefore has no `Debug`.
pub(super) struct Vault([u8; 32]);

impl Vault {
    pub(super) fn new(token_key: &[u8]) -> Result<Self, openssl::error::ErrorStack> {
        Ok(Self(derive(token_key, Purpose::NodeSecrets)?))
    }

    /// The secret of a node as the database keeps it: nonce, ciphertext, tag. Sealed for one node, it is no secret of
    /// another.
    pub(super) fn seal(&self, node_id: Uuid, secret: &[u8]) -> Result<Vec<u8>, ApiError> {
        let nonce: [u8; NONCE] = rand::random();
        let mut tag = [0; TAG];
        let cipher = Cipher::aes_256_gcm();
        let sealed = encrypt_aead(cipher, &self.0, Some(&nonce), node_id.as_bytes(), secret, &mut tag);
        let sealed = sealed.map_err(|error| ApiError::internal(&error))?;
        Ok([&nonce[..], &sealed, &tag].concat())
    }

    /// The secret of a node. One that is not sealed yet is as long as a secret.
    pub(super) fn open(&self, node_id: Uuid, kept: Vec<u8>) -> Result<Vec<u8>, ApiError> {
        if kept.len() == SECRET {
            return Ok(kept);
        }
        let parts = kept.split_at_checked(NONCE).and_then(|(nonce, rest)| {
            let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
            Some((nonce, sealed, tag))
        });
        let opened = parts.and_then(|(nonce, sealed, tag)| {
            let cipher = Cipher::aes_256_gcm();
            decrypt_aead(cipher, &self.0, Some(nonce), node_id.as_bytes(), sealed, tag).ok()
        });
        opened.ok_or_else(|| {
            ApiError::internal(&format!(
                "a secret of node {node_id} was not sealed with this NEBULA_TOKEN_KEY; make another: \
                 nebulactl node secret make"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_is_opened_for_its_node_with_its_key_only() {
        let (vault, node, secret) = (Vault::new(&[1; 32]).unwrap(), Uuid::from_u128(1), vec![7; SECRET]);
        let sealed = vault.seal(node, &secret).unwrap();
        assert_eq!(sealed.len(), NONCE + SECRET + TAG);
        assert_ne!(sealed, vault.seal(node, &secret).unwrap());
        assert_eq!(vault.open(node, sealed.clone()).unwrap(), secret);
        assert!(vault.open(Uuid::from_u128(2), sealed.clone()).is_err());
        assert!(Vault::new(&[2; 32]).unwrap().open(node, sealed.clone()).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault.open(node, changed).is_err(), "byte {at}");
        }
        assert!(vault.open(node, vec![0; 5]).is_err());
    }

    #[test]
    fn a_secret_from_before_is_taken_as_it_is() {
        let vault = Vault::new(&[1; 32]).unwrap();
        assert_eq!(vault.open(Uuid::nil(), vec![7; SECRET]).unwrap(), vec![7; SECRET]);
    }
}
