//! Accounts: the `account` subcommand, what administrators do to them, and their own passwords.

use std::net::IpAddr;
use std::time::Duration;

use nebula_api::account::{Account, AccountChanges};
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::proof::Account as Caller;
use super::query::{GenericClient, map_rows, query, query_one, query_opt};
use crate::error::ApiError;

/// Credentials of an account.
pub(crate) struct Credentials {
    /// Argon2id in PHC form.
    pub(crate) password_hash: String,
    /// `admin` or `member`.
    pub(crate) role: String,
}

/// The credentials of an account; `None` for unknown and disabled accounts alike.
pub(crate) async fn credentials(
    client: &impl GenericClient,
    username: &str,
) -> Result<Option<Credentials>, ApiError> {
    let sql = "SELECT password_hash, role FROM nebula.account_login($1)";
    let row = query_opt(client, sql, &[&username]).await?;
    row.map(|row| Ok(Credentials { password_hash: row.try_get(0)?, role: row.try_get(1)? })).transpose()
}

/// Makes an account; for administrators of the database.
/// Fails with 409 when the name is taken, 400 for a malformed name.
pub(crate) async fn create(
    client: &impl GenericClient,
    username: &str,
    password_hash: &str,
    role: &str,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.create_account($1, $2, $3)";
    Ok(query_one(client, sql, &[&username, &password_hash, &role]).await?.try_get(0)?)
}

/// Replaces a password and ends the sessions of the account; for administrators of the database.
/// Fails with 404 when there is no such account.
pub(crate) async fn set_password(
    client: &impl GenericClient,
    username: &str,
    password_hash: &str,
) -> Result<Uuid, ApiError> {
    Ok(query_one(client, "SELECT nebula.set_password($1, $2)", &[&username, &password_hash])
        .await?
        .try_get(0)?)
}

/// Result of comparing the password of an account that is signed in. The database counts wrong ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PasswordCheck {
    Right,
    Wrong,
    /// No password is looked at so soon after failures.
    Wait(Duration),
}

impl PasswordCheck {
    /// Reads columns `outcome` and `wait_seconds`.
    pub(super) fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(match row.try_get("outcome")? {
            "right" | "changed" => Self::Right,
            "wait" => {
                Self::Wait(Duration::try_from_secs_f64(row.try_get("wait_seconds")?).unwrap_or_default())
            }
            _ => Self::Wrong,
        })
    }
}

/// Replaces the actor's password, if the old one is right, and ends its sessions but one.
pub(crate) async fn set_own_password(
    client: &impl GenericClient,
    actor: &Caller,
    (old, new_hash): (&str, &str),
    keep: Option<Uuid>,
    address: Option<IpAddr>,
) -> Result<PasswordCheck, ApiError> {
    let sql = "SELECT outcome, wait_seconds FROM nebula.set_own_password(nebula.actor($1), $2, $3, $4, $5)";
    let row = query_one(client, sql, &[&actor, &old, &new_hash, &keep, &address]).await?;
    Ok(PasswordCheck::from_row(&row)?)
}

/// Accounts by name, those after a name. Fails with 403 not an administrator.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Caller,
    after: Option<&str>,
    max: i32,
) -> Result<Vec<Account>, ApiError> {
    let rows = query(
        client,
        "SELECT * FROM nebula.list_accounts(nebula.actor($1), $2, $3)",
        &[&actor, &after, &max],
    )
    .await?;
    map_rows(&rows, |row| {
        Ok(Account {
            account_id: row.try_get("account_id")?,
            username: row.try_get("username")?,
            role: row.try_get("role")?,
            disabled_at: row.try_get("disabled_at")?,
            created_at: row.try_get("created_at")?,
            last_seen_at: row.try_get("last_seen_at")?,
            sessions: row.try_get("sessions")?,
        })
    })
}

/// Changes an account. Fails with 403 not an administrator, 404 no such account, 400 no such role, 409 the last
/// administrator.
pub(crate) async fn change(
    client: &impl GenericClient,
    actor: &Caller,
    account_id: Uuid,
    changes: &AccountChanges,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.change_account_for(nebula.actor($1), $2, $3, $4)";
    query(client, sql, &[&actor, &account_id, &Json(changes), &address]).await.map(drop)
}

/// Deletes an account; what it owns stays. Fails with 403 not an administrator, 404 no such account, 409 the last
/// administrator.
pub(crate) async fn delete(
    client: &impl GenericClient,
    actor: &Caller,
    account_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.delete_account_for(nebula.actor($1), $2, $3)";
    query(client, sql, &[&actor, &account_id, &address]).await.map(drop)
}
