//! `nebula-gateway account`: the first account, and a way back in when a password is lost.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow, bail};

use crate::database::{Database, account};
use crate::domain::auth::password::{hash_password, matches};
use crate::error::{sentence, with_source};
use crate::settings::{Flags, required};

/// Shorter passwords can be guessed.
const MIN_PASSWORD_LENGTH: usize = 8;

/// Makes the account, or sets its password, or does nothing if both are so already; answers in one sentence
/// what was done. The database URL must be that of an administrator; the gateway's own role may not do this.
///
/// # Errors
/// One sentence; never the password.
pub async fn ensure(flags: Flags, username: &str, role: &str, password_file: &Path) -> Result<String> {
    let example = "postgresql://nebula_admin:password@host/nebula";
    let url = required(flags.database_url, "NEBULA_DATABASE_URL", example)?;
    let shown = password_file.display();
    let password = fs::read_to_string(password_file)
        .map_err(|error| anyhow!("the password file {shown} cannot be read: {error}"))?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.chars().count() < MIN_PASSWORD_LENGTH {
        bail!("the password in {shown} is shorter than {MIN_PASSWORD_LENGTH} characters");
    }
    let database = Database::for_command(&url)?;
    let unreachable = |error| anyhow!("PostgreSQL cannot be reached: {}", with_source(&error));
    database.try_connecting().await.map_err(unreachable)?;
    let client = database.client().await.map_err(sentence)?;
    match account::credentials(&client, username).await.map_err(sentence)? {
        Some(found) if found.role != role => bail!(
            "account {username:?} exists with role {}; change it in psql: \
             UPDATE nebula.account SET role = '{role}' WHERE username = '{username}'",
            found.role
        ),
        Some(found) if matches(password, &found.password_hash) => {
            Ok(format!("account {username:?} is as it should be"))
        }
        Some(_) => {
            account::set_password(&client, username, &hash_password(password)?).await.map_err(sentence)?;
            Ok(format!("the password of account {username:?} was set, and its sessions were ended"))
        }
        None => {
            account::create(&client, username, &hash_password(password)?, role).await.map_err(sentence)?;
            Ok(format!("account {username:?} was created with role {role}"))
        }
    }
}
