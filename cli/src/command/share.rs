//! `share`: links by which people without an account open a file or the files of a folder.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use nebula_api::project::Project;
use nebula_api::share::{MadeShare, NewShare, Share};
use serde_json::json;
use uuid::Uuid;

use super::lifetime::parse_end;
use super::{file, project};
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Output, ago, clean};
use crate::{client, secret_file};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a link to a file or a folder; it is shown once
    Create(Create),
    /// List the links of a project; they are not shown themselves
    Ls(project::Choice),
    /// End a link, also for those who are watching
    Revoke {
        /// Number of the link, as `share ls` shows it
        id: Uuid,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Path, name or id of the file, or a folder: its files, those below it, and those that come later
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
        Command::Revoke { id, confirmation } => {
            if !confirmation.given(context, &format!("End the link {id} permanently?"))? {
                return Ok(());
            }
            client.delete(&format!("/api/shares/{id}")).await?;
            context
                .output
                .confirm(&json!({ "shareId": id }), || format!("The link {id} opens nothing any more."))
        }
    }
}

async fn create(context: &Context, arguments: Create) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let target = target(&client, &project, &arguments.name).await?;
    let read = |path: &PathBuf| {
        client::warn_if_exposed(context.output, client.server(), "password");
        secret_file::read(path, "password")
    };
    let password = arguments.password_file.as_ref().map(read).transpose()?;
    let Until(expires_at) = arguments.until.unwrap_or(Until(Some(Utc::now() + TimeDelta::days(7))));
    let allows_download = !arguments.no_download;
    let (file_id, folder) = match target {
        Target::File(file_id) => (Some(file_id), None),
        Target::Folder(folder) => (None, Some(folder)),
    };
    let project_id = folder.is_some().then_some(project.project_id);
    let note = arguments.note;
    let new = NewShare { file_id, project_id, folder, expires_at, password, allows_download, note };
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

/// The place that a link leads to.
enum Target {
    File(Uuid),
    Folder(String),
}

/// The file of this path, else the folder. A slash at the end means the folder.
async fn target(client: &Client, project: &Project, path: &str) -> Result<Target> {
    let found = match path.ends_with('/') {
        true => None,
        false => Some(file::find_in(client, project, path).await),
    };
    let folder = file::folder_of(path);
    match found {
        Some(Ok(file)) => Ok(Target::File(file.file_id)),
        Some(Err(error)) if !error.is_not_found() || folder.is_empty() => Err(error),
        Some(Err(error)) if !file::is_folder(client, project, &folder).await? => Err(error),
        _ => Ok(Target::Folder(folder)),
    }
}

fn table(output: Output, shares: &[Share]) -> String {
    let now = Utc::now();
    let rows = shares.iter().map(|share| {
        let end = share
            .expires_at
            .map_or_else(|| "never".to_owned(), |end| end.format("%Y-%m-%d %H:%M").to_string());
        let used = share.last_used_at.map_or_else(|| "-".to_owned(), |at| ago(at, now));
        let folder = share.folder.as_deref().map(|folder| format!("{}/", clean(folder)));
        let name = folder.or_else(|| share.file_name.as_deref().map(clean));
        let name = name.unwrap_or_else(|| "(deleted)".to_owned());
        let password = if share.has_password { "yes" } else { "no" }.to_owned();
        let note = share.note.as_deref().map(clean).unwrap_or_default();
        let uses = share.uses.to_string();
        [name, output.state(&share.state), end, password, uses, used, note, share.share_id.to_string()]
    });
    let headings = ["FILE", "STATE", "ENDS", "PASSWORD", ">OPENED", "LAST", "FOR", "ID"];
    output.table(headings, rows.collect())
}
