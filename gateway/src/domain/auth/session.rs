//! Sessions: refresh tokens are made here and kept by the client; the database knows only their hashes.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nebula_api::auth::{Identity, TokenPair};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::token::{ACCESS_LIFETIME, AccessClaims, Tokens, now};
use crate::database::session::{self as database, Exchange};
use crate::database::{Database, PipelinedTransaction};
use crate::error::{ApiError, NOT_AUTHENTICATED};

/// How long a session lasts from sign-in.
const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Begins a session.
pub(crate) async fn open(
    connections: &Database,
    tokens: &Tokens,
    account: Identity,
    address: Option<IpAddr>,
    user_agent: Option<&str>,
) -> Result<TokenPair, ApiError> {
    let token = random_token();
    let (account_id, hash) = (account.account_id, hash(&token));
    let client = connections.client().await?;
    let session = database::open(&client, account_id, &hash, SESSION_LIFETIME, address, user_agent).await?;
    token_pair(tokens, account, session, token)
}

/// Exchanges a refresh token for the next pair.
pub(crate) async fn rotate(
    connections: &Database,
    tokens: &Tokens,
    token: &str,
) -> Result<TokenPair, ApiError> {
    let next = random_token();
    let client = connections.client().await?;
    match database::rotate(&client, &hash(token), &hash(&next)).await? {
        Exchange::Rotated(session) => {
            let account =
                Identity { account_id: session.account_id, username: session.username, role: session.role };
            token_pair(tokens, account, session.session_id, next)
        }
        refused => Err(refusal(&refused)),
    }
}

/// Ends the session of a refresh token. A session that has ended already is no error.
pub(crate) async fn close(connections: &Database, token: &str) -> Result<(), ApiError> {
    // In one transaction: a failure between the two calls would leave a session whose newest token no
    // client has.
    let mut transaction = PipelinedTransaction::new(connections.client().await?);
    transaction.begin().await?;
    match database::rotate(&transaction, &hash(token), &hash(&random_token())).await? {
        Exchange::Rotated(session) => database::close(&transaction, session.session_id).await?,
        Exchange::Unknown => return Err(refusal(&Exchange::Unknown)),
        Exchange::Expired | Exchange::Ended | Exchange::Reused => {}
    }
    transaction.commit().await
}

fn token_pair(
    tokens: &Tokens,
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
    let access_token = tokens.sign(&claims)?;
    Ok(TokenPair { access_token, refresh_token, expires_in: ACCESS_LIFETIME.as_secs() })
}

fn refusal(exchange: &Exchange) -> ApiError {
    let sentence = match exchange {
        Exchange::Unknown | Exchange::Rotated(_) => "this refresh token is not known",
        Exchange::Expired => "the session has expired",
        Exchange::Ended => "the session was ended",
        Exchange::Reused => {
            "this refresh token was used before, so somebody else may have it: the session is ended for both"
        }
    };
    ApiError::new(NOT_AUTHENTICATED, sentence).hint("Sign in again.")
}

/// 256 random bits cannot be guessed, so a plain SHA-256 is enough to store them.
pub(crate) fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_tokens_have_256_bits_and_differ() {
        let (one, other) = (random_token(), random_token());
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
        assert_ne!(hash(&one), hash(&other));
    }
}
