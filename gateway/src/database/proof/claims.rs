//! What a token says, and how one is read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Lifetime of an access token; a client exchanges its refresh token then.
pub(crate) const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The right by which a token acts for its account; the database refuses the token once the right has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grant {
    Session(Uuid),
    /// A share link that the account made.
    Share(Uuid),
    /// A personal token, within its scopes.
    Token(Uuid),
}

/// Claims of a token, as the database reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The account; the nil identifier for the gateway.
    pub(crate) sub: Uuid,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) grant: Option<Grant>,
    /// For display, never for a decision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    /// `admin` or `member`, as of the token; for display, never for a decision.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) role: String,
    /// Seconds since 1970.
    pub(crate) iat: u64,
    /// Seconds since 1970.
    pub(crate) exp: u64,
    pub(crate) aud: String,
}

impl Claims {
    /// Audience of a token of an account.
    pub(crate) const ACCOUNT: &'static str = "nebula";
    /// Audience of a token of the gateway itself.
    pub(super) const GATEWAY: &'static str = "nebula-gateway";
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenError {
    Expired,
    /// Wrong key, wrong algorithm, wrong audience, or no token at all.
    Invalid,
}

/// Reads a token of this audience, signed with this algorithm, that has not expired.
pub(crate) fn open_as<C: DeserializeOwned + Clone>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
    audience: &str,
) -> Result<C, TokenError> {
    let mut rules = Validation::new(algorithm);
    rules.leeway = 0;
    rules.set_audience(&[audience]);
    // Without this a token that has no audience at all would pass.
    rules.set_required_spec_claims(&["exp", "aud"]);
    match decode::<C>(token, key, &rules) {
        Ok(token) => Ok(token.claims),
        Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Err(TokenError::Expired),
        Err(_) => Err(TokenError::Invalid),
    }
}
