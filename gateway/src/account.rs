//! `nebula-gateway account`: the first account, and a way back in when a password is lost.

use std::fs;
use std::path::Path;

use crate::auth::{hash_password, matches};
use crate::database::{Database, account};

/// Shorter ones are guessed.
const PASSWORD_MIN: usize = 8;

/// Makes the account, or sets its password; nothing happens when both are so already. `url` is of a database user who
/// may do that, which the gateway's own may not.
///
/// Answers what was done, in one sentence.
///
/// # Errors
/// One sentence; never the password.
pub async fn ensure(url: &str, username: &str, role: &str, password_file: &Path) -> Result<String, String> {
    let shown = password_file.display();
    let password = fs::read_to_string(password_file)
        .map_err(|error| format!("the password file {shown} cannot be read: {error}"))?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.chars().count() < PASSWORD_MIN {
        return Err(format!("the password in {shown} is shorter than {PASSWORD_MIN} characters"));
    }
    let database = Database::new(url, 1)?;
    let client = database.client().await.map_err(words)?;
    match account::login(&client, username).await.map_err(words)? {
        Some(found) if found.role != role => Err(format!(
            "account {username:?} exists with role {}; change it in psql: \
             UPDATE nebula.account SET role = '{role}' WHERE username = '{username}'",
            found.role
        )),
        Some(found) if matches(password, &found.password_hash) => {
            Ok(format!("account {username:?} is as it should be"))
        }
        Some(_) => {
            account::set_password(&client, username, &hash_password(password)?).await.map_err(words)?;
            Ok(format!("the password of account {username:?} was set, and its sessions were ended"))
        }
        None => {
            account::create(&client, username, &hash_password(password)?, role).await.map_err(words)?;
            Ok(format!("account {username:?} was created with role {role}"))
        }
    }
}

fn words(error: crate::ApiError) -> String {
    let failure = error.failure();
    match failure.hint {
        Some(hint) => format!("{}. {hint}", failure.detail),
        None => failure.detail,
    }
}
