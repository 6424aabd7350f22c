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
    pub(super) fn new(token_key: &[u8], purpose: Purpose) -> Result<Self, openssl::error::ErrorStack> {
        Ok(Self(derive(token_key, purpose)?))
    }

    /// A secret as the database keeps it: nonce, ciphertext, tag. Sealed for one owner, a node or an account, it is no
    /// secret of another.
    pub(super) fn seal(&self, owner: Uuid, secret: &[u8]) -> Result<Vec<u8>, ApiError> {
        let nonce: [u8; NONCE] = rand::random();
        let mut tag = [0; TAG];
        let cipher = Cipher::aes_256_gcm();
        let sealed = encrypt_aead(cipher, &self.0, Some(&nonce), owner.as_bytes(), secret, &mut tag);
        let sealed = sealed.map_err(|error| ApiError::internal(&error))?;
        Ok([&nonce[..], &sealed, &tag].concat())
    }

    /// The secret of an owner; `None` if it was not sealed for that owner with this key.
    pub(super) fn open(&self, owner: Uuid, kept: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = kept.split_at_checked(NONCE)?;
        let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        decrypt_aead(Cipher::aes_256_gcm(), &self.0, Some(nonce), owner.as_bytes(), sealed, tag).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_is_opened_for_its_owner_with_its_key_only() {
        let vault = |key| Vault::new(&[key; 32], Purpose::NodeSecrets).unwrap();
        let (node, secret) = (Uuid::from_u128(1), vec![7; 32]);
        let sealed = vault(1).seal(node, &secret).unwrap();
        assert_eq!(sealed.len(), NONCE + secret.len() + TAG);
        assert_ne!(sealed, vault(1).seal(node, &secret).unwrap());
        assert_eq!(vault(1).open(node, &sealed), Some(secret));
        assert_eq!(vault(1).open(Uuid::from_u128(2), &sealed), None);
        assert_eq!(vault(2).open(node, &sealed), None);
        let other_purpose = Vault::new(&[1; 32], Purpose::SecondFactors).unwrap();
        assert_eq!(other_purpose.open(node, &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(vault(1).open(node, &changed), None, "byte {at}");
        }
        assert_eq!(vault(1).open(node, &[0; 5]), None);
    }
}
