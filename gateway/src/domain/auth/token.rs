//! Signed tokens (JWT): the access token, and others that the gateway signs for itself.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::ApiError;

/// Lifetime of an access token; short, because it cannot be revoked.
pub(crate) const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessClaims {
    /// The account.
    pub(crate) sub: Uuid,
    pub(crate) username: String,
    /// `admin` or `member`.
    pub(crate) role: String,
    pub(crate) session: Uuid,
    /// Seconds since 1970.
    pub(crate) iat: u64,
    /// Seconds since 1970.
    pub(crate) exp: u64,
    /// [`AccessClaims::AUDIENCE`].
    pub(crate) aud: String,
}

impl AccessClaims {
    /// A token signed for another purpose carries another audience, so that neither passes for the other.
    pub(crate) const AUDIENCE: &'static str = "nebula";
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenError {
    Expired,
    /// Wrong key, wrong algorithm, wrong audience, or no token at all.
    Invalid,
}

/// Signs and checks with HMAC-SHA-256. The key never leaves this struct.
pub(crate) struct Tokens {
    sign: EncodingKey,
    check: DecodingKey,
}

impl Tokens {
    /// `key` has at least 32 bytes; the settings check that.
    pub(crate) fn new(key: &[u8]) -> Self {
        Self { sign: EncodingKey::from_secret(key), check: DecodingKey::from_secret(key) }
    }

    /// Signs claims, which must hold `exp` (seconds since 1970) and `aud`.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String, ApiError> {
        encode(&Header::new(Algorithm::HS256), claims, &self.sign).map_err(|error| ApiError::internal(&error))
    }

    /// Reads a token of this audience that has not expired. Only HS256 is accepted, whatever its header says.
    pub(crate) fn open<C: DeserializeOwned + Clone>(
        &self,
        token: &str,
        audience: &str,
    ) -> Result<C, TokenError> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = 0;
        rules.set_audience(&[audience]);
        // Without this a token that has no audience at all would pass.
        rules.set_required_spec_claims(&["exp", "aud"]);
        match decode::<C>(token, &self.check, &rules) {
            Ok(token) => Ok(token.claims),
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(TokenError::Expired),
            Err(_) => Err(TokenError::Invalid),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const KEY: &[u8] = b"thirty-two bytes for a token key";

    fn claims(exp: u64, audience: &str) -> AccessClaims {
        AccessClaims {
            sub: Uuid::nil(),
            username: "anna".into(),
            role: "member".into(),
            session: Uuid::nil(),
            iat: 0,
            exp,
            aud: audience.into(),
        }
    }

    fn open(token: &str) -> Result<AccessClaims, TokenError> {
        Tokens::new(KEY).open(token, AccessClaims::AUDIENCE)
    }

    #[test]
    fn a_signed_token_is_read_back() {
        let good = claims(now() + 60, AccessClaims::AUDIENCE);
        assert_eq!(open(&Tokens::new(KEY).sign(&good).unwrap()), Ok(good));
    }

    #[test]
    fn expired_and_foreign_tokens_and_other_audiences_are_refused() {
        let sign = |key: &[u8], claims| Tokens::new(key).sign(&claims).unwrap();
        let later = now() + 60;
        assert_eq!(open(&sign(KEY, claims(now() - 1, AccessClaims::AUDIENCE))), Err(TokenError::Expired));
        let foreign = sign(b"another key of thirty-two bytes!", claims(later, AccessClaims::AUDIENCE));
        assert_eq!(open(&foreign), Err(TokenError::Invalid));
        assert_eq!(open(&sign(KEY, claims(later, "nebula-link"))), Err(TokenError::Invalid));
        assert_eq!(open(""), Err(TokenError::Invalid));
    }

    #[test]
    fn other_algorithms_are_refused() {
        let body = serde_json::to_string(&claims(now() + 60, AccessClaims::AUDIENCE)).unwrap();
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
            &claims(now() + 60, AccessClaims::AUDIENCE),
            &EncodingKey::from_secret(KEY),
        );
        assert_eq!(open(&other.unwrap()), Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_without_audience_or_end_is_refused() {
        for missing in ["aud", "exp"] {
            let mut claims = serde_json::to_value(claims(now() + 60, AccessClaims::AUDIENCE)).unwrap();
            claims.as_object_mut().unwrap().remove(missing);
            let token = Tokens::new(KEY).sign(&claims).unwrap();
            let opened = Tokens::new(KEY).open::<serde_json::Value>(&token, AccessClaims::AUDIENCE);
            assert_eq!(opened, Err(TokenError::Invalid), "{missing}");
        }
    }
}
