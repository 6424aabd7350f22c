//! Secrets of authenticators, which the database keeps sealed and for which only a gateway can check codes.

use std::net::IpAddr;

use nebula_api::totp::TotpState;
use uuid::Uuid;

use super::account::PasswordCheck;
use super::proof::Account;
use super::query::{GenericClient, query, query_one, query_opt};
use crate::error::ApiError;

/// The secret for the codes of an account that signs in; `None`: it needs none, or there is no such account.
pub(crate) async fn secret(client: &impl GenericClient, username: &str) -> Result<Option<Vec<u8>>, ApiError> {
    let sql = "SELECT account_id, sealed_secret FROM nebula.sealed_totp(nebula.actor($1), $2)";
    let row = query_opt(client, sql, &[client.gateway(), &username]).await?;
    row.map(|row| client.gateway().open_totp(row.try_get(0)?, row.try_get(1)?)).transpose()
}

/// Keeps the secret of the actor's new authenticator, if the password is right. Fails with 409 there is one already.
pub(crate) async fn begin(
    client: &impl GenericClient,
    actor: &Account,
    password: &str,
    secret: &[u8],
    address: Option<IpAddr>,
) -> Result<PasswordCheck, ApiError> {
    let sealed = client.gateway().seal_totp(actor.id, secret)?;
    let sql = "SELECT outcome, wait_seconds FROM nebula.begin_totp(nebula.actor($1), $2, $3, $4)";
    let row = query_one(client, sql, &[&actor, &password, &sealed, &address]).await?;
    Ok(PasswordCheck::from_row(&row)?)
}

/// The secret of the authenticator that is being set up. Fails with 409 none is.
pub(crate) async fn pending(client: &impl GenericClient, actor: &Account) -> Result<Vec<u8>, ApiError> {
    let row = query_one(client, "SELECT nebula.pending_totp(nebula.actor($1))", &[&actor]).await?;
    client.gateway().open_totp(actor.id, row.try_get(0)?)
}

/// From now on the actor needs codes; `step` is that of the one which was checked. Fails with 409 none is being set up.
pub(crate) async fn confirm(
    client: &impl GenericClient,
    actor: &Account,
    step: i64,
    recovery_hashes: &[Vec<u8>],
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.confirm_totp(nebula.actor($1), $2, $3, $4)";
    query(client, sql, &[&actor, &step, &recovery_hashes, &address]).await.map(drop)
}

/// From now on the actor needs no codes, if the password is right. Fails with 409 there is no second factor.
pub(crate) async fn end(
    client: &impl GenericClient,
    actor: &Account,
    password: &str,
    address: Option<IpAddr>,
) -> Result<PasswordCheck, ApiError> {
    let sql = "SELECT outcome, wait_seconds FROM nebula.end_totp(nebula.actor($1), $2, $3)";
    let row = query_one(client, sql, &[&actor, &password, &address]).await?;
    Ok(PasswordCheck::from_row(&row)?)
}

/// The same for another account. Fails with 403 not an administrator, 409 there is no second factor.
pub(crate) async fn remove(
    client: &impl GenericClient,
    actor: &Account,
    account_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.remove_totp_for(nebula.actor($1), $2, $3)";
    query(client, sql, &[&actor, &account_id, &address]).await.map(drop)
}

/// Whether the actor needs codes.
pub(crate) async fn state(client: &impl GenericClient, actor: &Account) -> Result<TotpState, ApiError> {
    let sql = "SELECT enabled, recovery_codes FROM nebula.totp_status(nebula.actor($1))";
    let row = query_one(client, sql, &[&actor]).await?;
    Ok(TotpState { enabled: row.try_get(0)?, recovery_codes: row.try_get(1)? })
}
