//! `nebula-gateway account` and `first-run`: the first accounts, and a way back in when a password is lost.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::database::{Client, Database, account, invitation};
use crate::domain::auth::common_password;
use crate::domain::auth::password::{check_new, hash_password, matches};
use crate::domain::invitation::link;
use crate::error::{sentence, with_source};
use crate::settings::{Flags, required};

const URL_EXAMPLE: &str = "postgresql://nebula_admin:password@host/nebula";

/// Makes the account, or sets its password, or does nothing if both are so already; answers in one sentence
/// what was done. The database URL must be that of an administrator; the gateway's own role may not do this.
///
/// # Errors
/// One sentence; never the password.
pub async fn ensure(flags: Flags, username: &str, role: &str, password_file: &Path) -> Result<String> {
    let url = required(flags.database_url, "NEBULA_DATABASE_URL", URL_EXAMPLE)?;
    let shown = password_file.display();
    let password = fs::read_to_string(password_file)
        .map_err(|error| anyhow!("the password file {shown} cannot be read: {error}"))?;
    let password = password.trim_end_matches(['\r', '\n']);
    check_new(password)
        .map_err(sentence)
        .with_context(|| format!("{shown} has no password for an account"))?;
    let client = connect(&url).await?;
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
            common_password::refuse(password, &[username]).map_err(sentence)?;
            account::set_password(&client, username, &hash_password(password)?).await.map_err(sentence)?;
            Ok(format!("the password of account {username:?} was set, and its sessions were ended"))
        }
        None => {
            common_password::refuse(password, &[username]).map_err(sentence)?;
            account::create(&client, username, &hash_password(password)?, role).await.map_err(sentence)?;
            Ok(format!("account {username:?} was created with role {role}"))
        }
    }
}

/// The link by which the first person at a new system makes an operator's account; `None` once somebody has signed in.
/// `server` is the address of the gateway. The database URL must be that of an administrator.
///
/// # Errors
/// One sentence.
pub async fn first_run(flags: Flags, server: &str) -> Result<Option<String>> {
    let url = required(flags.database_url, "NEBULA_DATABASE_URL", URL_EXAMPLE)?;
    let client = connect(&url).await?;
    let code = invitation::first_run(&client).await.map_err(sentence)?;
    Ok(code.map(|code| link(server.trim_end_matches('/'), &code)))
}

async fn connect(url: &str) -> Result<Client> {
    let database = Database::for_command(url)?;
    let unreachable = |error| anyhow!("PostgreSQL cannot be reached: {}", with_source(&error));
    database.try_connecting().await.map_err(unreachable)?;
    database.client().await.map_err(sentence)
}
