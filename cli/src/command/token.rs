//! `token`: personal tokens, by which programs act for an account.

use chrono::Utc;
use clap::{Args, Subcommand};
use nebula_api::personal_token::{CreatePersonalToken, NewPersonalToken, PersonalToken};
use serde_json::json;
use uuid::Uuid;

use super::lifetime::parse_lifetime;
use crate::client::{self, Client};
use crate::context::Context;
use crate::error::{Code, Error, Result, UsageError};
use crate::output::{ago, clean};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a token for a program; it is shown once
    Create(Create),
    /// List your tokens; they are not shown themselves
    Ls,
    /// End a token at once
    Rm {
        /// Name or number of the token, as `token ls` shows them
        token: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Name that tells you later what it is for
    name: String,
    /// Rights: read, write, admin, or actions such as file.write, with commas; never more than you have
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', default_value = "read")]
    scope: Vec<String>,
    /// End of the token: 7d, 365d
    #[arg(long = "for", value_name = "TIME", default_value = "90d", value_parser = parse_days)]
    days: u32,
}

/// Parses a length of time into days.
fn parse_days(text: &str) -> std::result::Result<u32, UsageError> {
    let days = parse_lifetime(text)? / 86_400;
    u32::try_from(days)
        .ok()
        .filter(|days| (1..=3650).contains(days))
        .ok_or_else(|| UsageError::new("a token lasts 1d to 3650d"))
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Create(arguments) => create(context, &client, arguments).await,
        Command::Ls => list(context, &client).await,
        Command::Rm { token } => {
            let token = find(&client, &token).await?;
            client.delete(&format!("/api/account/tokens/{}", token.token_id)).await?;
            context.output.confirm(&json!({ "tokenId": token.token_id }), || {
                format!("The token \"{}\" has ended.", clean(&token.name))
            })
        }
    }
}

async fn create(context: &Context, client: &Client, arguments: Create) -> Result<()> {
    client::warn_if_exposed(context.output, client.server(), "token");
    let Create { name, scope: scopes, days } = arguments;
    let wanted = CreatePersonalToken { name, scopes, days: Some(days) };
    let made: NewPersonalToken = client.post("/api/account/tokens", &wanted).await?;
    context.output.note(&format!(
        "Keep it now, it is not shown again. It may do {} until {}. Programs give it as NEBULA_TOKEN or --token-file.",
        made.entry.actions.join(", "),
        made.entry.expires_at.format("%Y-%m-%d")
    ));
    context.output.show(&made, || made.token.clone())
}

async fn all(client: &Client) -> Result<Vec<PersonalToken>> {
    client.get("/api/account/tokens", &[]).await
}

/// The token with this name or number.
async fn find(client: &Client, wanted: &str) -> Result<PersonalToken> {
    let id = wanted.parse::<Uuid>().ok();
    let found =
        all(client).await?.into_iter().find(|token| token.name == wanted || Some(token.token_id) == id);
    found.ok_or_else(|| {
        Error::new(Code::NotFound, format!("you have no token \"{wanted}\""))
            .hint("List them: nebulactl token ls")
    })
}

async fn list(context: &Context, client: &Client) -> Result<()> {
    let tokens = all(client).await?;
    context.output.show(&tokens, || {
        let now = Utc::now();
        let rows = tokens.iter().map(|token| {
            let used = token.last_used_at.map_or_else(|| "never".to_owned(), |at| ago(at, now));
            let from = token.last_used_from.clone().unwrap_or_default();
            let is_over = token.expires_at <= now;
            let state = context.output.state(if is_over { "expired" } else { "active" });
            let ends = token.expires_at.format("%Y-%m-%d").to_string();
            [clean(&token.name), token.scopes.join(","), state, ends, used, from, token.token_id.to_string()]
        });
        context.output.table(["NAME", "SCOPES", "STATE", "ENDS", "USED", "FROM", "ID"], rows.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lasts_whole_days() {
        assert_eq!(parse_days("90d"), Ok(90));
        assert_eq!(parse_days("36h"), Ok(1));
        for wrong in ["1h", "0d", "3651d", "never", ""] {
            assert!(parse_days(wrong).is_err(), "{wrong}");
        }
    }
}
