//! Proof of the account that a call acts for, so that the login of the gateway alone is worth nothing.
//!
//! A statement of the gateway reads `SELECT * FROM nebula.list_pools(nebula.actor($1), $2)`: [`actor`] checks a signed
//! token and notes its account for the rest of the transaction. The parameter has the domain `nebula.proven_account`,
//! whose CHECK is [`is_proven`]; so a function that declares it cannot be called for an account that was not proven.

mod key;
pub(crate) mod password;
mod personal;
pub(crate) mod request;
mod right;
mod transaction;
mod verified;

pub(crate) use transaction::LISTENER as TRANSACTION_LISTENER;

use nebula_core::access_token::Holder;
use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::error::{Error, Kind, Result, sql};
use crate::pg::{catalog, privilege, session};

/// Stands for the gateway, which is no account.
const GATEWAY: [u8; 16] = [0; 16];

/// PostgreSQL counts from 2000, tokens from 1970.
const EPOCH_SECONDS: i64 = 946_684_800;

#[pg_extern]
fn actor(p_token: &str) -> sql::Result<Uuid> {
    // The caller may read no table, nor execute the functions in the checks of one.
    Ok(privilege::as_role(catalog::owner()?, || prove(p_token))?)
}

fn prove(proof: &str) -> Result<Uuid> {
    let (token, request) = nebula_core::request::split(proof);
    if token.starts_with(personal::PREFIX) {
        let found = personal::by_text(token)?;
        transaction::note(found.account, found.until, Some(found.actions));
        request::note(found.account, request);
        return Ok(Uuid::from_bytes(found.account));
    }
    let claims = verified::claims(token)?;
    let until = i64::try_from(claims.expires).unwrap_or(i64::MAX);
    let until = until.saturating_sub(EPOCH_SECONDS).saturating_mul(1_000_000);
    if until <= session::clock() {
        return Err(match claims.holder {
            Holder::Gateway => Error::new(
                Kind::Misconfigured,
                "the token of the gateway has expired",
                "Set the clocks of gateway and database.",
            ),
            Holder::Account { .. } => {
                refused("the access token has expired", "Exchange the refresh token: POST /api/auth/refresh.")
            }
        });
    }
    let (account, actions) = match claims.holder {
        Holder::Gateway => (GATEWAY, None),
        Holder::Account { account, by } => (account, right::require(account, by)?),
    };
    transaction::note(account, until, actions);
    request::note(account, request);
    Ok(Uuid::from_bytes(account))
}

// The CHECK of nebula.proven_account. Raises instead of answering false, for the SQLSTATE and the hint.
#[pg_extern]
fn is_proven(p_account_id: Option<Uuid>) -> sql::Result<bool> {
    let account = p_account_id.map(|account| *account.as_bytes());
    if account.is_some_and(|account| account != GATEWAY && transaction::is_proven(account))
        || privilege::session_is_owner()?
    {
        return Ok(true);
    }
    Err(Error::new(
        Kind::Unproven,
        "this transaction has no proof of the account that it acts for",
        "Give nebula.actor(access token) instead of an account id.",
    )
    .into())
}

// The CHECK of nebula.proven_gateway.
#[pg_extern]
fn is_gateway(p_gateway: Option<Uuid>) -> sql::Result<bool> {
    if p_gateway.is_some_and(|gateway| *gateway.as_bytes() == GATEWAY) && transaction::is_proven(GATEWAY)
        || privilege::session_is_owner()?
    {
        return Ok(true);
    }
    Err(Error::new(
        Kind::Unproven,
        "this transaction has no proof that a gateway is calling",
        "Give nebula.actor(token of the gateway), which is signed with a key in nebula.token_key.",
    )
    .into())
}

#[pg_extern]
fn token_allows(p_account_id: Option<Uuid>, p_action: &str) -> bool {
    p_account_id.is_none_or(|account| transaction::allows(*account.as_bytes(), p_action))
}

fn refused(message: &str, hint: &str) -> Error {
    Error::new(Kind::Unproven, message, hint)
}
