//! Signed tokens (JWT): access tokens, and others that the gateway signs for itself.
//!
//! Access tokens are signed with a key of which the database has the public half, see
//! [`proof`](crate::database::proof); the others (links) with one that only gateways know.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::personal_token::Holders;
use crate::database::Signer;
use crate::database::proof::{TokenError, open_as};
use crate::error::ApiError;

/// Signs and checks. The keys never leave this struct.
pub(crate) struct Tokens {
    sign: EncodingKey,
    check: DecodingKey,
    signer: Signer,
    holders: Holders,
}

impl Tokens {
    /// `key` has at least 32 bytes; the settings check that.
    pub(crate) fn new(key: &[u8], signer: Signer) -> Self {
        Self {
            sign: EncodingKey::from_secret(key),
            check: DecodingKey::from_secret(key),
            signer,
            holders: Holders::default(),
        }
    }

    /// Signs access tokens.
    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Accounts of personal tokens.
    pub(crate) fn holders(&self) -> &Holders {
        &self.holders
    }

    /// Signs claims that only gateways read, which must hold `exp` (seconds since 1970) and `aud`.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String, ApiError> {
        encode(&Header::new(Algorithm::HS256), claims, &self.sign).map_err(|error| ApiError::internal(&error))
    }

    /// Reads a token of this audience that has not expired. Only HS256 is accepted, whatever its header says.
    pub(crate) fn open<C: DeserializeOwned + Clone>(
        &self,
        token: &str,
        audience: &str,
    ) -> Result<C, TokenError> {
        open_as(token, &self.check, Algorithm::HS256, audience)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde::Deserialize;

    use super::*;
    use crate::database::proof::now;

    const KEY: &[u8] = b"thirty-two bytes for a token key";
    const AUDIENCE: &str = "nebula-link";

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    struct Link {
        file: u32,
        exp: u64,
        aud: String,
    }

    fn tokens(key: &[u8]) -> Tokens {
        Tokens::new(key, Signer::new(key).unwrap())
    }

    fn link(exp: u64, audience: &str) -> Link {
        Link { file: 7, exp, aud: audience.into() }
    }

    fn open(token: &str) -> Result<Link, TokenError> {
        tokens(KEY).open(token, AUDIENCE)
    }

    #[test]
    fn a_signed_token_is_read_back() {
        let good = link(now() + 60, AUDIENCE);
        assert_eq!(open(&tokens(KEY).sign(&good).unwrap()), Ok(good));
    }

    #[test]
    fn expired_and_foreign_tokens_and_other_audiences_are_refused() {
        let sign = |key: &[u8], claims| tokens(key).sign(&claims).unwrap();
        let later = now() + 60;
        assert_eq!(open(&sign(KEY, link(now() - 1, AUDIENCE))), Err(TokenError::Expired));
        let foreign = sign(b"another key of thirty-two bytes!", link(later, AUDIENCE));
        assert_eq!(open(&foreign), Err(TokenError::Invalid));
        assert_eq!(open(&sign(KEY, link(later, "nebula"))), Err(TokenError::Invalid));
        assert_eq!(open(""), Err(TokenError::Invalid));
    }

    #[test]
    fn other_algorithms_are_refused() {
        let body = serde_json::to_string(&link(now() + 60, AUDIENCE)).unwrap();
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for algorithm in ["none", "None", "NONE"] {
            let head = part(&format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#));
            for signature in ["", "AAAA"] {
                let token = format!("{head}.{}.{signature}", part(&body));
                assert_eq!(open(&token), Err(TokenError::Invalid), "{token}");
            }
        }
        let other = encode(
            &Header::new(Algorithm::HS512),
            &link(now() + 60, AUDIENCE),
            &EncodingKey::from_secret(KEY),
        );
        assert_eq!(open(&other.unwrap()), Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_without_audience_or_end_is_refused() {
        for missing in ["aud", "exp"] {
            let mut claims = serde_json::to_value(link(now() + 60, AUDIENCE)).unwrap();
            claims.as_object_mut().unwrap().remove(missing);
            let token = tokens(KEY).sign(&claims).unwrap();
            let opened = tokens(KEY).open::<serde_json::Value>(&token, AUDIENCE);
            assert_eq!(opened, Err(TokenError::Invalid), "{missing}");
        }
    }
}
