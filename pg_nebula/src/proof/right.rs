//! The right that a token names: a session that has not ended, a share link that is open, or a personal token that
//! lasts; of an account that is not disabled.

use nebula_core::access_token::Grant;
use pgrx::Uuid;

use super::{personal, refused};
use crate::direct::{IndexScan, KeyValue, Table};
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::privilege::as_owner_by_index;
use crate::pg::session::clock;
use crate::pg::statement::Statement;

static ACCOUNT: Table = Table::new(c"account", &[c"disabled_at"]);
static SESSION: Table = Table::new(c"session", &[c"account_id", c"expires_at", c"ended_at"]);
static SHARE: Table = Table::new(c"share", &[c"made_by", c"expires_at", c"revoked_at"]);

/// Refuses a token whose right has ended, however long the token itself is good. Answers the actions that a personal
/// token is good for; `None`: all that the account may do.
///
/// # Errors
/// [`Kind::Unproven`](crate::pg::error::Kind::Unproven).
pub(super) fn require(account: [u8; 16], by: Grant) -> Result<Option<Vec<String>>> {
    let account = Uuid::from_bytes(account);
    let holds = match by {
        Grant::Session(id) => {
            holds_now(&SESSION, c"session_pkey", Uuid::from_bytes(id), account)?
                || session_by_sql(id, account)?
        }
        Grant::Share(id) => {
            holds_now(&SHARE, c"share_pkey", Uuid::from_bytes(id), account)? || share_by_sql(id, account)?
        }
        Grant::Token(id) => return personal::by_id(id, account).map(Some),
    };
    match (holds, by) {
        (true, _) if is_enabled(account)? => Ok(None),
        (true, _) => Err(refused("this account is unknown or disabled", "Sign in again.")),
        (false, Grant::Session(_)) => Err(refused("the session was ended", "Sign in again.")),
        (false, Grant::Share(_) | Grant::Token(_)) => {
            Err(refused("the share link was ended", "Ask for another link."))
        }
    }
}

/// Whether the row is of this account, has not ended and will end later, if at all. `false` also where a statement has
/// to answer.
fn holds_now(table: &'static Table, key: &'static std::ffi::CStr, id: Uuid, account: Uuid) -> Result<bool> {
    let now = clock();
    let found = table.first_now(&IndexScan::exact(key, &[KeyValue::uuid(id)?]), |row| {
        let expires: Option<Timestamp> = row.read(1);
        Some(
            row.read::<Uuid>(0) == Some(account)
                && expires.is_none_or(|expires| expires.0 > now)
                && row.read::<Timestamp>(2).is_none(),
        )
    })?;
    Ok(found == Some(true))
}

fn session_by_sql(id: [u8; 16], account: Uuid) -> Result<bool> {
    static FIND: Statement = Statement::new(
        "SELECT true FROM nebula.session
          WHERE session_id = $1 AND account_id = $2 AND ended_at IS NULL AND expires_at > clock_timestamp()",
    );
    exists(&FIND, Uuid::from_bytes(id), account)
}

fn share_by_sql(id: [u8; 16], account: Uuid) -> Result<bool> {
    static FIND: Statement = Statement::new(
        "SELECT true FROM nebula.share
          WHERE share_id = $1 AND made_by = $2 AND revoked_at IS NULL
            AND (expires_at IS NULL OR expires_at > clock_timestamp())",
    );
    exists(&FIND, Uuid::from_bytes(id), account)
}

fn is_enabled(account: Uuid) -> Result<bool> {
    static FIND: Statement =
        Statement::new("SELECT true FROM nebula.account WHERE account_id = $1 AND disabled_at IS NULL");
    let values = [KeyValue::uuid(account)?];
    let enabled = ACCOUNT.first_now(&IndexScan::exact(c"account_pkey", &values), |row| {
        Some(row.read::<Timestamp>(0).is_none())
    })?;
    match enabled {
        Some(enabled) => Ok(enabled),
        None => as_owner_by_index(|| {
            Ok(!FIND.query_latest(&[account.into()], |row| row.need::<bool>(1))?.is_empty())
        }),
    }
}

fn exists(statement: &'static Statement, id: Uuid, account: Uuid) -> Result<bool> {
    as_owner_by_index(|| {
        Ok(!statement.query_latest(&[id.into(), account.into()], |row| row.need::<bool>(1))?.is_empty())
    })
}
