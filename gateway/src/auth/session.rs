//! Refresh tokens: made here, kept by the client, known to the database by hash.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nebula_api::auth::{Identity, TokenPair};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::token::{ACCESS_LIFETIME, AccessClaims, now};
use crate::database::session::{self, Outcome};
use crate::error::NOT_AUTHENTICATED;
use crate::{ApiError, AppState};

/// How long a session lasts from sign-in.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Begins a session.
pub(super) async fn open(
    state: &AppState,
    account: Identity,
    address: Option<IpAddr>,
    user_agent: Option<&str>,
) -> Result<TokenPair, ApiError> {
    let token = random_token();
    let client = state.database.client().await?;
    let opened =
        session::open(&client, account.account_id, &hash(&token), LIFETIME, address, user_agent).await?;
    pair(state, account, opened, token)
}

/// Exchanges a token for the next pair.
pub(super) async fn rotate(state: &AppState, token: &str) -> Result<TokenPair, ApiError> {
    let next = random_token();
    let client = state.database.client().await?;
    match session::rotate(&client, &hash(token), &hash(&next)).await? {
        Outcome::Rotated(family) => {
            let account =
                Identity { account_id: family.account_id, username: family.username, role: family.role };
            pair(state, account, family.session_id, next)
        }
        refused => Err(refusal(&refused)),
    }
}

/// Ends the session of a token. Whoever signs out late, or twice, is signed out all the same.
pub(super) async fn close(state: &AppState, token: &str) -> Result<(), ApiError> {
    let mut client = state.database.client().await?;
    // One transaction, or a failure in between would leave a session whose newest token nobody has.
    let transaction = client.transaction().await?;
    match session::rotate(&transaction, &hash(token), &hash(&random_token())).await? {
        Outcome::Rotated(family) => session::close(&transaction, family.session_id).await?,
        Outcome::Unknown => return Err(refusal(&Outcome::Unknown)),
        Outcome::Expired | Outcome::Ended | Outcome::Reused => {}
    }
    Ok(transaction.commit().await?)
}

fn pair(
    state: &AppState,
    account: Identity,
    session: Uuid,
    refresh_token: String,
) -> Result<TokenPair, ApiError> {
    let iat = now();
    let claims = AccessClaims {
        sub: account.account_id,
        username: account.username,
        role: account.role,
        session,
        iat,
        exp: iat + ACCESS_LIFETIME.as_secs(),
        aud: AccessClaims::AUDIENCE.to_owned(),
    };
    let access_token = state.tokens.sign(&claims)?;
    Ok(TokenPair { access_token, refresh_token, expires_in: ACCESS_LIFETIME.as_secs() })
}

fn refusal(outcome: &Outcome) -> ApiError {
    let sentence = match outcome {
        Outcome::Unknown | Outcome::Rotated(_) => "this refresh token is not known",
        Outcome::Expired => "the session has expired",
        Outcome::Ended => "the session was ended",
        Outcome::Reused => {
            "this refresh token was used before, so somebody else may have it: the session is ended for both"
        }
    };
    ApiError::new(NOT_AUTHENTICATED, sentence).hint("Sign in again.")
}

/// 256 bits: nothing to guess, so a plain SHA-256 keeps it.
fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (one, other) = (random_token(), random_token());
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
        assert_ne!(hash(&one), hash(&other));
    }
}
