//! Sessions, each a family of refresh tokens. The database sees only hashes of tokens.

use std::net::IpAddr;
use std::time::Duration;

use nebula_api::account::Session as OpenSession;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// Result of exchanging a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exchange {
    Rotated(Session),
    Unknown,
    Expired,
    /// The session was ended, or the account disabled; how, in words of the database.
    Ended(String),
    /// The token had been exchanged before: two parties hold it, so the session was ended.
    Reused,
}

/// A session and its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) session_id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) username: String,
    /// `admin` or `member`.
    pub(crate) role: String,
}

/// A sign-in with a password. The database compares it, and counts failures.
pub(crate) struct NewSession<'a> {
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
    /// Hash of the first refresh token.
    pub(crate) token_hash: &'a [u8],
    pub(crate) lifetime: Duration,
    pub(crate) address: Option<IpAddr>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) second: Option<SecondFactor>,
}

/// The second factor that was given beside the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecondFactor {
    /// The 30 s since 1970 whose code it was; 0: of none.
    Step(i64),
    /// Hash of a recovery code.
    Recovery(Vec<u8>),
}

/// Result of signing in.
pub(crate) enum SignIn {
    SignedIn {
        session_id: Uuid,
        account_id: Uuid,
        role: String,
    },
    /// The password is right, and the account needs a code, too.
    SecondFactor,
    /// The name, the password or the code is wrong; the account, if there is one of this name.
    Refused(Option<Uuid>),
    /// No password is looked at so soon after failures.
    Wait(Duration),
}

/// Begins a session, if the password is right.
pub(crate) async fn sign_in(client: &impl GenericClient, new: &NewSession<'_>) -> Result<SignIn, ApiError> {
    let sql = "SELECT outcome, wait_seconds, session_id, account_id, role
                 FROM nebula.sign_in(nebula.actor($1), $2, $3, $4, make_interval(secs => $5), $6, $7, $8, $9)";
    let NewSession { username, password, token_hash, lifetime, address, user_agent, second } = new;
    let (step, recovery) = match second {
        Some(SecondFactor::Step(step)) => (Some(step), None),
        Some(SecondFactor::Recovery(hash)) => (None, Some(hash)),
        None => (None, None),
    };
    let lifetime = lifetime.as_secs_f64();
    let values: [&(dyn ToSql + Sync); 9] =
        [client.gateway(), username, password, token_hash, &lifetime, address, user_agent, &step, &recovery];
    let row = query_one(client, sql, &values).await?;
    Ok(match row.try_get(0)? {
        "signed-in" => SignIn::SignedIn {
            session_id: row.try_get(2)?,
            account_id: row.try_get(3)?,
            role: row.try_get(4)?,
        },
        "second-factor" => SignIn::SecondFactor,
        "wait" => SignIn::Wait(Duration::try_from_secs_f64(row.try_get(1)?).unwrap_or_default()),
        _ => SignIn::Refused(row.try_get(3)?),
    })
}

/// Exchanges a token for the next one, both by hash. With the same key, by hash, a client may repeat that.
pub(crate) async fn rotate(
    client: &impl GenericClient,
    token_hash: &[u8],
    next_hash: &[u8],
    retry_hash: Option<&[u8]>,
) -> Result<Exchange, ApiError> {
    let sql = "SELECT outcome, session_id, account_id, username, role, end_reason
                 FROM nebula.rotate_session(nebula.actor($1), $2, $3, p_retry_hash => $4)";
    let row = query_one(client, sql, &[client.gateway(), &token_hash, &next_hash, &retry_hash]).await?;
    let outcome: &str = row.try_get(0)?;
    Ok(match outcome {
        "rotated" => Exchange::Rotated(Session {
            session_id: row.try_get(1)?,
            account_id: row.try_get(2)?,
            username: row.try_get(3)?,
            role: row.try_get(4)?,
        }),
        "unknown" => Exchange::Unknown,
        "expired" => Exchange::Expired,
        "reused" => Exchange::Reused,
        _ => Exchange::Ended(row.try_get::<_, Option<String>>(5)?.unwrap_or_default()),
    })
}

/// Ends a session; it may have ended already.
pub(crate) async fn close(client: &impl GenericClient, session_id: Uuid) -> Result<(), ApiError> {
    query_one(client, "SELECT nebula.close_session(nebula.actor($1), $2)", &[client.gateway(), &session_id])
        .await
        .map(drop)
}

/// Open sessions of the actor, or of another account. Fails with 403 not an administrator.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    account_id: Option<Uuid>,
) -> Result<Vec<OpenSession>, ApiError> {
    let rows =
        query(client, "SELECT * FROM nebula.list_sessions(nebula.actor($1), $2)", &[&actor, &account_id])
            .await?;
    map_rows(&rows, |row| {
        Ok(OpenSession {
            session_id: row.try_get("session_id")?,
            current: false,
            client: row.try_get("client")?,
            user_agent: row.try_get("user_agent")?,
            opened_at: row.try_get("opened_at")?,
            last_seen_at: row.try_get("last_seen_at")?,
            expires_at: row.try_get("expires_at")?,
        })
    })
}

/// Ends a session of the actor or, for administrators, of anybody. Fails with 404 none in sight.
pub(crate) async fn end(
    client: &impl GenericClient,
    actor: &Account,
    session_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    query(client, "SELECT nebula.end_session_for(nebula.actor($1), $2, $3)", &[&actor, &session_id, &address])
        .await
        .map(drop)
}

/// Ends all sessions of the actor but one; answers how many.
pub(crate) async fn end_others(
    client: &impl GenericClient,
    actor: &Account,
    keep: Option<Uuid>,
    address: Option<IpAddr>,
) -> Result<i32, ApiError> {
    let sql = "SELECT nebula.end_other_sessions(nebula.actor($1), $2, $3)";
    Ok(query_one(client, sql, &[&actor, &keep, &address]).await?.try_get(0)?)
}
