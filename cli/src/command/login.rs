//! `login` and `logout`.

use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::PathBuf;

use clap::Args;
use console::Term;
use nebula_api::auth::{Identity, LoginRequest, RefreshRequest, TokenPair};
use serde_json::json;

use crate::client;
use crate::context::Context;
use crate::error::{Doing, Error, Result};
use crate::output::clean;
use crate::pin::{self, Fingerprint, parse_fingerprint};
use crate::secret_file;
use crate::settings::Session;

#[derive(Args, Debug)]
pub(crate) struct Login {
    /// Name of the account; asked for when missing
    username: Option<String>,
    /// The same, for scripts that prefer names
    #[arg(long = "username", value_name = "USERNAME", hide = true, conflicts_with = "username")]
    named: Option<String>,
    /// Read the password from the first line of a file instead of asking; a pipe works too, and - is standard
    /// input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Of an account with a second factor: the code that the authenticator shows, or a recovery code; asked for when missing
    #[arg(long)]
    code: Option<String>,
    /// SHA-256 of the certificate that a gateway has signed itself, from its log; it is remembered
    #[arg(long, value_name = "DIGITS", value_parser = parse_fingerprint)]
    fingerprint: Option<Fingerprint>,
}

/// Logs in and makes this server the default.
pub(crate) async fn login(context: &Context, arguments: Login) -> Result<()> {
    let mut client = context.session_client()?;
    if let Some(fingerprint) = arguments.fingerprint {
        pin::remember(client.settings(), client.server(), fingerprint).await?;
        // With the certificate that is accepted from now on.
        client = context.session_client()?;
    }
    client::warn_if_exposed(context.output, client.server(), "password");
    let username = match arguments.username.or(arguments.named) {
        Some(username) => username,
        None => ask("Username: ", || Term::stderr().read_line())?,
    };
    let password = match &arguments.password_file {
        Some(path) => secret_file::read(path, "password")?,
        None if stdin().is_terminal() => ask("Password: ", || Term::stderr().read_secure_line())?,
        None => secret_file::read_standard_input("password")?,
    };
    let mut body = LoginRequest { username: username.clone(), password, code: arguments.code };
    let response = match client.post_public("/api/auth/login", &body).await {
        Err(error) if error.wants_code() && body.code.is_none() && stdin().is_terminal() => {
            body.code = Some(ask("Code: ", || Term::stderr().read_line())?);
            client.post_public("/api/auth/login", &body).await?
        }
        Err(error) if error.wants_code() => {
            return Err(error.hint("Add --code with what the authenticator shows."));
        }
        response => response?,
    };
    let session = Session::new(username, client::json::<TokenPair>(response).await?);
    let lock = client.settings().lock().await?;
    client.settings().set_session(&lock, client.server(), Some(session))?;
    client.settings().set_server(client.server())?;
    drop(lock);
    let identity: Identity = client.get("/api/auth/me", &[]).await?;
    context.output.confirm(&identity, || {
        format!(
            "Signed in to {} as {} ({}).",
            client.server(),
            clean(&identity.username),
            clean(&identity.role)
        )
    })
}

/// Forgets the session, even if the gateway cannot be told.
pub(crate) async fn logout(context: &Context) -> Result<()> {
    let client = context.session_client()?;
    if client.settings().session(client.server())?.is_none() {
        let text = || format!("You were not signed in to {}.", client.server());
        return context.output.confirm(&json!({ "server": client.server(), "signedOut": false }), text);
    }
    let lock = client.settings().lock().await?;
    let session = client.settings().session(client.server())?;
    client.settings().set_session(&lock, client.server(), None)?;
    if let Some(session) = session {
        let body = RefreshRequest { refresh_token: session.refresh_token };
        if let Err(error) = client.post_public("/api/auth/logout", &body).await {
            context.output.note(&format!("forgotten here only, the gateway could not be told: {error}"));
        }
    }
    let value = json!({ "server": client.server(), "signedOut": true });
    context.output.confirm(&value, || format!("Signed out of {}.", client.server()))
}

pub(super) fn ask(prompt: &str, read: impl FnOnce() -> std::io::Result<String>) -> Result<String> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        let detail =
            format!("there is no terminal to ask for the {}", prompt.trim_end_matches(": ").to_lowercase());
        return Err(
            Error::usage(detail).hint("Give it as an argument, secrets in a file: --help names the options.")
        );
    }
    let answer =
        write!(stderr(), "{prompt}").and_then(|()| read()).doing(|| "read from the terminal".to_owned())?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}
