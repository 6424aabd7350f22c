//! Personal tokens: random texts that the database knows by hash, each with scopes and an end of its own.

use pgrx::Uuid;

use super::refused;
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Error, Result};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::statement::{Row, Statement};

/// Tells a personal token from a signed one, which begins with its header in base64.
pub(super) const PREFIX: &str = "nebula_pat_";

/// A token that lasts, of an account that is not disabled.
pub(super) struct Personal {
    pub(super) account: [u8; 16],
    /// Its end, in PostgreSQL's microseconds.
    pub(super) until: i64,
    /// The actions that it is good for.
    pub(super) actions: Vec<String>,
}

/// Looks a token up.
///
/// # Errors
/// [`Kind::Unproven`](crate::pg::error::Kind::Unproven): it is unknown, has expired, or its account is disabled.
pub(super) fn by_text(token: &str) -> Result<Personal> {
    static FIND: Statement = Statement::new(
        "SELECT t.account_id, t.expires_at, t.actions
           FROM nebula.personal_token t
           JOIN nebula.account a USING (account_id)
          WHERE t.token_hash = pg_catalog.sha256(pg_catalog.convert_to($1, 'UTF8'))
            AND t.expires_at > pg_catalog.clock_timestamp() AND a.disabled_at IS NULL",
    );
    as_owner_by_index(|| FIND.query_latest(&[token.into()], read))?.pop().ok_or_else(ended)
}

/// The actions of a token of this account that the gateway has looked up before.
///
/// # Errors
/// As [`by_text`].
pub(super) fn by_id(id: [u8; 16], account: Uuid) -> Result<Vec<String>> {
    static FIND: Statement = Statement::new(
        "SELECT t.account_id, t.expires_at, t.actions
           FROM nebula.personal_token t
           JOIN nebula.account a USING (account_id)
          WHERE t.token_id = $1 AND t.account_id = $2
            AND t.expires_at > pg_catalog.clock_timestamp() AND a.disabled_at IS NULL",
    );
    let values = [Uuid::from_bytes(id).into(), account.into()];
    let found = as_owner_by_index(|| FIND.query_latest(&values, read))?.pop();
    Ok(found.ok_or_else(ended)?.actions)
}

fn read(row: &Row<'_>) -> Result<Personal> {
    let until: Timestamp = row.need(2)?;
    Ok(Personal { account: *row.need::<Uuid>(1)?.as_bytes(), until: until.0, actions: row.need(3)? })
}

fn ended() -> Error {
    refused(
        "the personal token is unknown, has ended or expired, or its account is disabled",
        "Make another one: nebulactl token create.",
    )
}
