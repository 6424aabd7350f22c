//! `play`: starts a player with a signed URL.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;
use nebula_api::file::Link;
use serde_json::json;
use which::which;

use super::{file, project};
use crate::context::Context;
use crate::error::{Code, Doing, Error, Result};

#[derive(Args, Debug)]
pub(crate) struct Play {
    /// Name or id of the file
    name: String,
    /// Print the URL instead, for a player elsewhere; it works without signing in until it expires
    #[arg(long)]
    print_url: bool,
    #[command(flatten)]
    project: project::Choice,
}

/// Plays a file until the player ends.
pub(crate) async fn run(context: &Context, arguments: Play) -> Result<ExitCode> {
    let client = context.client()?;
    let file = file::find(&client, &arguments.project, &arguments.name).await?;
    let link: Link = client.post(&format!("/api/files/{}/link", file.file_id), &json!({})).await?;
    let url = format!("{}{}", client.server(), link.path);
    if arguments.print_url {
        context.output.show(&json!({ "url": url, "expiresAt": link.expires_at }), || url.clone())?;
        return Ok(ExitCode::SUCCESS);
    }
    let player = player().ok_or_else(|| {
        Error::new(Code::NotFound, "there is neither mpv nor vlc on this machine")
            .hint("Install one, for example: apt install mpv. Or print the URL: --print-url")
    })?;
    let status = Command::new(&player).arg(&url).status().doing(|| format!("start {}", player.display()))?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Error::new(Code::Io, format!("{} ended with {status}", player.display()))
        .hint("What it printed above says why; --print-url gives the URL for another player."))
}

/// The first player on `PATH`.
pub(crate) fn player() -> Option<PathBuf> {
    ["mpv", "vlc"].into_iter().find_map(|name| which(name).ok())
}
