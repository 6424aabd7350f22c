//! `account password`.

use std::io::{IsTerminal, stdin};
use std::path::PathBuf;

use clap::Args;
use console::Term;
use nebula_api::account::PasswordChange;
use serde_json::json;

use crate::client::{self, Client};
use crate::command::login::ask;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::secret_file;

#[derive(Args, Debug)]
pub(crate) struct Change {
    /// Read the password of now from the first line of a file instead of asking; - is standard input
    #[arg(long, value_name = "FILE")]
    old_file: Option<PathBuf>,
    /// Read the new password from the first line of a file instead of asking
    #[arg(long, value_name = "FILE")]
    new_file: Option<PathBuf>,
}

/// Sets the password of the caller.
pub(super) async fn change(context: &Context, client: &Client, arguments: &Change) -> Result<()> {
    client::warn_if_exposed(context.output, client.server(), "password");
    let old_password = match &arguments.old_file {
        Some(path) => secret_file::read(path, "password")?,
        None => current()?,
    };
    let new_password = match &arguments.new_file {
        Some(path) => secret_file::read(path, "password")?,
        None => {
            let first = ask("New password: ", || Term::stderr().read_secure_line())?;
            if first != ask("Again: ", || Term::stderr().read_secure_line())? {
                return Err(Error::usage("the new passwords differ").hint("Nothing was changed."));
            }
            first
        }
    };
    let _: () = client.put("/api/account/password", &PasswordChange { old_password, new_password }).await?;
    context.output.confirm(&json!({ "changed": true }), || {
        "Your password is changed; your other sessions have ended.".to_owned()
    })
}

/// The password of the caller: asked for at the terminal, else the first line of standard input.
pub(super) fn current() -> Result<String> {
    if stdin().is_terminal() {
        ask("Password: ", || Term::stderr().read_secure_line())
    } else {
        secret_file::read_standard_input("password")
    }
}
