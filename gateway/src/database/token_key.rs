//! Keys that the database verifies tokens with.

use uuid::Uuid;

use super::query::{GenericClient, query_one};
use crate::error::ApiError;

/// Lets a gateway sign tokens; for administrators of the database. Adding a key again is no error. Fails with 409 if it
/// was retired.
pub(crate) async fn add(client: &impl GenericClient, public_key: &[u8; 32]) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.add_token_key($1)";
    Ok(query_one(client, sql, &[&public_key.as_slice()]).await?.try_get(0)?)
}
