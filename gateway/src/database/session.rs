//! Sessions: refresh-token families. Only hashes of tokens come here.

use std::net::IpAddr;
use std::time::Duration;

use deadpool_postgres::GenericClient;
use uuid::Uuid;

use super::one;
use crate::ApiError;

/// What became of a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was exchanged for the next one.
    Rotated(Family),
    /// Nobody ever got it.
    Unknown,
    /// Its family is past its time.
    Expired,
    /// Its family was ended, or the account disabled.
    Ended,
    /// It had been exchanged before: two parties hold it, so its family was ended.
    Reused,
}

/// A session and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The session.
    pub session_id: Uuid,
    /// Whose.
    pub account_id: Uuid,
    /// Name of the account.
    pub username: String,
    /// `admin` or `member`.
    pub role: String,
}

/// Begins a family with the hash of its first token.
///
/// # Errors
/// Those of the database.
pub async fn open(
    client: &impl GenericClient,
    account_id: Uuid,
    token_hash: &[u8],
    lifetime: Duration,
    address: Option<IpAddr>,
    user_agent: Option<&str>,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.open_session($1, $2, make_interval(secs => $3), $4::text::inet, $5)";
    let address = address.map(|address| address.to_string());
    let row =
        one(client, sql, &[&account_id, &token_hash, &lifetime.as_secs_f64(), &address, &user_agent]).await?;
    Ok(row.try_get(0)?)
}

/// Exchanges a token for the next one, both by hash.
///
/// # Errors
/// Those of the database; a token that is no good is an [`Outcome`], not an error.
pub async fn rotate(
    client: &impl GenericClient,
    token_hash: &[u8],
    next_hash: &[u8],
) -> Result<Outcome, ApiError> {
    let sql = "SELECT outcome, session_id, account_id, username, role FROM nebula.rotate_session($1, $2)";
    let row = one(client, sql, &[&token_hash, &next_hash]).await?;
    let outcome: &str = row.try_get(0)?;
    Ok(match outcome {
        "rotated" => Outcome::Rotated(Family {
            session_id: row.try_get(1)?,
            account_id: row.try_get(2)?,
            username: row.try_get(3)?,
            role: row.try_get(4)?,
        }),
        "unknown" => Outcome::Unknown,
        "expired" => Outcome::Expired,
        "reused" => Outcome::Reused,
        _ => Outcome::Ended,
    })
}

/// Ends a family; twice is no error.
///
/// # Errors
/// Those of the database.
pub async fn close(client: &impl GenericClient, session_id: Uuid) -> Result<(), ApiError> {
    one(client, "SELECT nebula.close_session($1)", &[&session_id]).await.map(drop)
}
