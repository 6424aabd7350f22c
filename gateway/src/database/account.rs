//! Accounts, as sign-in and the `account` subcommand need them.

use uuid::Uuid;

use super::query::{GenericClient, query_one, query_opt};
use crate::error::ApiError;

/// Credentials of an account.
pub(crate) struct Credentials {
    pub(crate) account_id: Uuid,
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
    let sql = "SELECT account_id, password_hash, role FROM nebula.account_login($1)";
    let row = query_opt(client, sql, &[&username]).await?;
    row.map(|row| {
        Ok(Credentials { account_id: row.try_get(0)?, password_hash: row.try_get(1)?, role: row.try_get(2)? })
    })
    .transpose()
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
