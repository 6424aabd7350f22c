//! `share`: links by which people without an account open a file.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use nebula_api::share::{MadeShare, NewShare, Share};
use serde_json::json;
use uuid::Uuid;

use super::lifetime::parse_end;
use super::login::read_password;
use super::{file, project};
use crate::context::Context;
use crate::error::Result;
use crate::output::{Output, ago, clean};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a link to a file; it is shown once
    Create(Create),
    /// List the links of a project; they are not shown themselves
    Ls(project::Choice),
    /// End a link, also for those who are watching
    Revoke {
        /// Number of the link, as `share ls` shows it
        id: Uuid,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Name or id of the file
    name: String,
    /// End of the link: 12h, 7d, 2027-01-31, or never [default: 7d]
    #[arg(long, value_name = "TIME", value_parser = parse_until)]
    until: Option<Until>,
    /// Ask visitors for the password in the first line of this file; - is standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Let visitors play it, and not fetch the upload itself
    #[arg(long)]
    no_download: bool,
    /// For whom it is; visitors do not see it
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    project: project::Choice,
}

/// The end of a link, if it has one.
#[derive(Clone, Copy, Debug)]
struct Until(Option<DateTime<Utc>>);

fn parse_until(text: &str) -> std::result::Result<Until, crate::error::UsageError> {
    if text == "never" { Ok(Until(None)) } else { parse_end(text).map(|end| Until(Some(end))) }
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Create(arguments) => create(context, arguments).await,
        Command::Ls(choice) => {
            let project = choice.resolve(&client).await?;
            let query = [("projectId", project.project_id.to_string())];
            let shares: Vec<Share> = client.get("/api/shares", &query).await?;
            context.output.show(&shares, || table(context.output, &shares))
        }
        Command::Revoke { id } => {
            client.delete(&format!("/api/shares/{id}")).await?;
            context
                .output
                .confirm(&json!({ "shareId": id }), || format!("The link {id} opens nothing any more."))
        }
    }
}

async fn create(context: &Context, arguments: Create) -> Result<()> {
    let client = context.client()?;
    let file = file::find(&client, &arguments.project, &arguments.name).await?;
    let password = arguments.password_file.as_deref().map(read_password).transpose()?;
    let Until(expires_at) = arguments.until.unwrap_or(Until(Some(Utc::now() + TimeDelta::days(7))));
    let allows_download = !arguments.no_download;
    let new = NewShare { file_id: file.file_id, expires_at, password, allows_download, note: arguments.note };
    let made: MadeShare = client.post("/api/shares", &new).await?;
    let url = format!("{}{}", client.server(), made.path);
    let value = json!({ "shareId": made.share_id, "url": url, "expiresAt": made.expires_at });
    context.output.show(&value, || {
        if context.output.quiet {
            return url.clone();
        }
        let end = made.expires_at.map_or_else(
            || "It opens until you revoke it".to_owned(),
            |end| format!("It opens until {}", end.format("%Y-%m-%d %H:%M UTC")),
        );
        format!("{url}\n{end}, and is not shown again. End it: nebulactl share revoke {}", made.share_id)
    })
}

fn table(output: Output, shares: &[Share]) -> String {
    let now = Utc::now();
    let rows = shares.iter().map(|share| {
        let end = share
            .expires_at
            .map_or_else(|| "never".to_owned(), |end| end.format("%Y-%m-%d %H:%M").to_string());
        let used = share.last_used_at.map_or_else(|| "-".to_owned(), |at| ago(at, now));
        let name = share.file_name.as_deref().map_or_else(|| "(deleted)".to_owned(), clean);
        let password = if share.has_password { "yes" } else { "no" }.to_owned();
        let note = share.note.as_deref().map(clean).unwrap_or_default();
        let uses = share.uses.to_string();
        [name, output.state(&share.state), end, password, uses, used, note, share.share_id.to_string()]
    });
    let headings = ["FILE", "STATE", "ENDS", "PASSWORD", ">OPENED", "LAST", "FOR", "ID"];
    output.table(headings, rows.collect())
}
