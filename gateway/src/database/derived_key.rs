//! Keys that follow from NEBULA_TOKEN_KEY (HKDF, RFC 5869), each for one purpose, so that a deployment keeps one secret.

use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::Id;
use openssl::pkey_ctx::PkeyCtx;

/// Use of a key; its name is part of the derivation, so that no key serves two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Signs access tokens (Ed25519).
    AccessTokens,
    /// Seals secrets of nodes (AES-256-GCM).
    NodeSecrets,
    /// Seals secrets of authenticators (AES-256-GCM).
    SecondFactors,
}

impl Purpose {
    fn name(self) -> &'static [u8] {
        match self {
            Self::AccessTokens => b"pg_nebula 1: access tokens, Ed25519",
            Self::NodeSecrets => b"pg_nebula 1: node secrets, AES-256-GCM",
            Self::SecondFactors => b"pg_nebula 1: second factors, AES-256-GCM",
        }
    }
}

/// The key for a purpose.
pub(crate) fn derive(token_key: &[u8], purpose: Purpose) -> Result<[u8; 32], ErrorStack> {
    let mut context = PkeyCtx::new_id(Id::HKDF)?;
    context.derive_init()?;
    context.set_hkdf_md(Md::sha256())?;
    context.set_hkdf_key(token_key)?;
    context.add_hkdf_info(purpose.name())?;
    let mut key = [0; 32];
    context.derive(Some(&mut key))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions survive an update of the gateway, so the derivation must not change.
    #[test]
    fn the_derived_keys_stay_the_same() {
        let key = derive(b"thirty-two bytes for a token key", Purpose::AccessTokens).unwrap();
        assert_eq!(hex::encode(key), "a1a599cc7c4a1d112cb9b55d0fc7098bea2706c8505c13cb13896ca81c65cf54");
        assert_ne!(key, derive(b"another key of thirty-two bytes!", Purpose::AccessTokens).unwrap());
    }
}
