//! `nebula-gateway token-key`: the key by which the database verifies the tokens of this gateway.

use anyhow::{Result, anyhow};

use crate::database::proof::key_id;
use crate::database::{Database, Signer, token_key};
use crate::error::{sentence, with_source};
use crate::settings::{Flags, required, token_key_bytes};

/// The public key that follows from NEBULA_TOKEN_KEY, in hexadecimal digits.
///
/// # Errors
/// One sentence; never the secret.
pub fn show(flags: Flags) -> Result<String> {
    Ok(hex::encode(signer(flags.token_key)?.public_key()))
}

/// Adds the key to the database, unless it is there; answers what was done. The database URL must be that of an
/// administrator: a gateway may not do this, or it could let itself in.
///
/// # Errors
/// One sentence; never the secret.
pub async fn register(flags: Flags) -> Result<String> {
    let example = "postgresql://nebula_admin:password@host/nebula";
    let url = required(flags.database_url, "NEBULA_DATABASE_URL", example)?;
    let signer = signer(flags.token_key)?;
    let database = Database::for_command(&url)?;
    let unreachable = |error| anyhow!("PostgreSQL cannot be reached: {}", with_source(&error));
    database.try_connecting().await.map_err(unreachable)?;
    let client = database.client().await.map_err(sentence)?;
    let key = token_key::add(&client, signer.public_key()).await.map_err(sentence)?;
    debug_assert_eq!(key, key_id(signer.public_key()), "gateway and database name a key alike");
    Ok(format!("the database accepts tokens that are signed with key {key}"))
}

fn signer(setting: Option<String>) -> Result<Signer> {
    let key = required(setting, "NEBULA_TOKEN_KEY", "/etc/nebula/token_key")?;
    Ok(Signer::new(&token_key_bytes(&key)?)?)
}
