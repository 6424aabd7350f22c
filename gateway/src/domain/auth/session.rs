//! Sessions: refresh tokens are made here and kept by the client; the database knows only their hashes.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nebula_api::auth::{Identity, LoginRequest, TokenPair};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::password::{Passwords, too_many_failures};
use super::token::Tokens;
use super::totp;
use crate::database::proof::ACCESS_LIFETIME;
use crate::database::session::{self as database, Exchange, NewSession, SignIn};
use crate::database::{Database, PipelinedTransaction};
use crate::error::{ApiError, NOT_AUTHENTICATED};

/// How long a session lasts from sign-in.
const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Begins a session with a name and a password. Fails with 401, and 429 for some time after failures.
pub(crate) async fn sign_in(
    connections: &Database,
    tokens: &Tokens,
    passwords: &Passwords,
    given: &LoginRequest,
    address: Option<IpAddr>,
    user_agent: Option<&str>,
) -> Result<TokenPair, ApiError> {
    let token = random_token();
    let username = given.username.trim().to_lowercase();
    // The connection is busy as long as the password is compared, so only so many may be.
    let _turn = passwords.turn().await?;
    let client = connections.client().await?;
    let second = match given.code.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(code) => Some(totp::second_factor(&client, &username, code).await?),
    };
    let new = NewSession {
        username: &username,
        password: &given.password,
        token_hash: &hash(&token),
        lifetime: SESSION_LIFETIME,
        address,
        user_agent,
        second,
    };
    match database::sign_in(&client, &new).await? {
        SignIn::SignedIn { session_id, account_id, role } => {
            let account = Identity { account_id, username, role };
            token_pair(tokens, account, session_id, token)
        }
        SignIn::Refused(account) => {
            // Without the name that was given: people type passwords there.
            tracing::warn!(?account, ?address, "a sign-in was refused");
            let wrong = if given.code.is_some() {
                "the name, the password or the code"
            } else {
                "the name or the password"
            };
            Err(ApiError::new(NOT_AUTHENTICATED, format!("{wrong} is wrong"))
                .hint("Check them; an administrator can set a new password with nebula-gateway account."))
        }
        SignIn::SecondFactor => Err(ApiError::new(NOT_AUTHENTICATED, "this account needs a code, too")
            .hint("Give the code that the authenticator shows, or a recovery code.")
            .reason("second-factor")),
        SignIn::Wait(wait) => {
            tracing::warn!(?address, ?wait, "a sign-in has to wait");
            Err(too_many_failures(wait))
        }
    }
}

/// Exchanges a refresh token for the next pair. `retry_key` tells a client that repeats the exchange from another one.
pub(crate) async fn rotate(
    connections: &Database,
    tokens: &Tokens,
    token: &str,
    retry_key: Option<&str>,
) -> Result<TokenPair, ApiError> {
    let next = random_token();
    let client = connections.client().await?;
    let retry_hash = retry_key.map(hash);
    let retry_hash = retry_hash.as_ref().map(<[u8; 32]>::as_slice);
    match database::rotate(&client, &hash(token), &hash(&next), retry_hash).await? {
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
    match database::rotate(&transaction, &hash(token), &hash(&random_token()), None).await? {
        Exchange::Rotated(session) => database::close(&transaction, session.session_id).await?,
        Exchange::Unknown => return Err(refusal(&Exchange::Unknown)),
        Exchange::Expired | Exchange::Ended(_) | Exchange::Reused => {}
    }
    transaction.commit().await
}

fn token_pair(
    tokens: &Tokens,
    account: Identity,
    session: Uuid,
    refresh_token: String,
) -> Result<TokenPair, ApiError> {
    let names = (account.username.as_str(), account.role.as_str());
    let access_token = tokens.signer().access_token(account.account_id, session, names);
    let access_token = access_token.map_err(|error| ApiError::internal(&error))?;
    Ok(TokenPair { access_token, refresh_token, expires_in: ACCESS_LIFETIME.as_secs() })
}

fn refusal(exchange: &Exchange) -> ApiError {
    let stolen =
        "this refresh token was used before, so somebody else may have it: the session is ended for both";
    let (reason, sentence) = match exchange {
        Exchange::Unknown | Exchange::Rotated(_) => ("unknown", "this refresh token is not known"),
        Exchange::Expired => ("expired", "the session has expired"),
        Exchange::Reused => ("reused", stolen),
        Exchange::Ended(reason) => match reason.as_str() {
            "logout" => ("signed-out", "this session was signed out"),
            "reuse" => ("reused", stolen),
            "password" => ("password-changed", "the password was changed, which ended the session"),
            "disabled" => ("disabled", "the account was disabled"),
            _ => ("ended", "the session was ended, by the account elsewhere or by an administrator"),
        },
    };
    let hint = if reason == "disabled" { "Ask an administrator." } else { "Sign in again." };
    ApiError::new(NOT_AUTHENTICATED, sentence).hint(hint).reason(reason)
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
