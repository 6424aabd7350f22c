//! `account totp`: the second factor of the caller's account.

use std::io::{IsTerminal, stdin};
use std::path::PathBuf;

use clap::Subcommand;
use console::Term;
use nebula_api::totp::{NewTotp, RecoveryCodes, TotpCode, TotpRequest, TotpState};
use qrcode::EcLevel;
use serde_json::json;

use super::password::current;
use crate::client::{self, Client};
use crate::command::login::ask;
use crate::command::qr;
use crate::context::Context;
use crate::error::Result;
use crate::output::clean;
use crate::secret_file;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show whether signing in needs a code
    Status,
    /// Set up an authenticator; prints the QR code for it, then asks for a code and prints recovery codes
    On {
        /// Read your password from the first line of a file instead of asking
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Show a code of the authenticator that `on` has set up, where it could not ask for one
    Confirm {
        /// The six digits
        code: String,
    },
    /// Sign in without a code again
    Off {
        /// Read your password from the first line of a file instead of asking
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Let somebody sign in without a code who has lost authenticator and recovery codes (operators)
    Remove {
        /// Sign-in name
        name: String,
    },
}

pub(super) async fn run(context: &Context, client: &Client, command: Command) -> Result<()> {
    match command {
        Command::Status => status(context, client).await,
        Command::On { password_file } => {
            let request = request(context, client, password_file)?;
            let made: NewTotp = client.post("/api/account/totp", &request).await?;
            let can_ask = stdin().is_terminal() && !context.output.json;
            context.output.show(&made, || shown(&made, can_ask))?;
            if !can_ask {
                return Ok(());
            }
            confirm(context, client, ask("Code: ", || Term::stderr().read_line())?).await
        }
        Command::Confirm { code } => confirm(context, client, code).await,
        Command::Off { password_file } => {
            let request = request(context, client, password_file)?;
            let _: () = client.post("/api/account/totp/end", &request).await?;
            context
                .output
                .confirm(&json!({ "enabled": false }), || "Signing in needs no code any more.".to_owned())
        }
        Command::Remove { name } => {
            let account = super::find(client, &name).await?;
            client.delete(&format!("/api/accounts/{}/totp", account.account_id)).await?;
            super::confirm(context, &name, "can sign in without a code")
        }
    }
}

fn request(context: &Context, client: &Client, password_file: Option<PathBuf>) -> Result<TotpRequest> {
    client::warn_if_exposed(context.output, client.server(), "password");
    let password = match password_file {
        Some(path) => secret_file::read(&path, "password")?,
        None => current()?,
    };
    Ok(TotpRequest { password })
}

async fn status(context: &Context, client: &Client) -> Result<()> {
    let state: TotpState = client.get("/api/account/totp", &[]).await?;
    context.output.show(&state, || {
        if state.enabled {
            format!("Signing in needs a code; {} recovery codes are left.", state.recovery_codes)
        } else {
            "Signing in needs no code. To change that: nebulactl account totp on".to_owned()
        }
    })
}

fn shown(made: &NewTotp, can_ask: bool) -> String {
    let picture = qr::blocks(&made.url, EcLevel::L).unwrap_or_default();
    let then = if can_ask {
        "Then type the code that it shows."
    } else {
        "Then: nebulactl account totp confirm CODE"
    };
    format!("{picture}\nScan this with an authenticator, or type: {}\n{then}", clean(&made.secret))
}

async fn confirm(context: &Context, client: &Client, code: String) -> Result<()> {
    let codes: RecoveryCodes = client.put("/api/account/totp", &TotpCode { code }).await?;
    context.output.show(&codes, || {
        let list: Vec<_> = codes.recovery_codes.iter().map(|code| clean(code)).collect();
        format!(
            "Signing in needs a code from now on. Keep these for the loss of the authenticator; each is good once:\n\n{}",
            list.join("\n")
        )
    })
}
