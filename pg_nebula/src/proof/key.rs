//! Public keys that verify tokens: `nebula.token_key`.

use pgrx::Uuid;

use crate::direct::{FoundRow, IndexScan, KeyValue, Table};
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::{Error, Kind, Result};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::statement::Statement;

static TOKEN_KEY: Table = Table::new(c"token_key", &[c"public_key", c"retired_at"]);

/// The public key with this identifier, as of now.
///
/// # Errors
/// [`Kind::Misconfigured`]: it is unknown, or was retired.
pub(super) fn find(key: [u8; 16]) -> Result<Vec<u8>> {
    static FIND: Statement =
        Statement::new("SELECT public_key FROM nebula.token_key WHERE key_id = $1 AND retired_at IS NULL");
    let key = Uuid::from_bytes(key);
    let read = |row: &FoundRow<'_>| match row.read::<Timestamp>(1) {
        Some(_) => None,
        None => row.read::<Vec<u8>>(0),
    };
    let values = [KeyValue::uuid(key)?];
    if let Some(found) = TOKEN_KEY.first_now(&IndexScan::exact(c"token_key_pkey", &values), read)? {
        return Ok(found);
    }
    let found = as_owner_by_index(|| Ok(FIND.query_latest(&[key.into()], |row| row.need(1))?.pop()))?;
    found.ok_or_else(|| {
        Error::new(
            Kind::Misconfigured,
            format!("the key {key} that the token is signed with is not known here, or was retired"),
            "An administrator registers the key of the gateway: nebula-gateway token-key --register.",
        )
    })
}
