//! Accounts, as sign-in and the `account` subcommand need them.

use deadpool_postgres::GenericClient;
use uuid::Uuid;

use super::{one, optional};
use crate::ApiError;

/// What a password is checked against.
pub struct Login {
    /// The account.
    pub account_id: Uuid,
    /// Argon2id in PHC form.
    pub password_hash: String,
    /// `admin` or `member`.
    pub role: String,
}

/// What is needed to check a password; nothing for unknown and disabled accounts alike.
///
/// # Errors
/// Those of the database.
pub async fn login(client: &impl GenericClient, username: &str) -> Result<Option<Login>, ApiError> {
    let sql = "SELECT account_id, password_hash, role FROM nebula.account_login($1)";
    let row = optional(client, sql, &[&username]).await?;
    row.map(|row| {
        Ok(Login { account_id: row.try_get(0)?, password_hash: row.try_get(1)?, role: row.try_get(2)? })
    })
    .transpose()
}

/// Makes an account; for administrators of the database.
///
/// # Errors
/// 409 when the name is taken, 400 for a malformed name.
pub async fn create(
    client: &impl GenericClient,
    username: &str,
    password_hash: &str,
    role: &str,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.create_account($1, $2, $3)";
    Ok(one(client, sql, &[&username, &password_hash, &role]).await?.try_get(0)?)
}

/// Replaces a password and ends the sessions of the account; for administrators of the database.
///
/// # Errors
/// 404 when there is no such account.
pub async fn set_password(
    client: &impl GenericClient,
    username: &str,
    password_hash: &str,
) -> Result<Uuid, ApiError> {
    Ok(one(client, "SELECT nebula.set_password($1, $2)", &[&username, &password_hash]).await?.try_get(0)?)
}
