//! `play`: starts a player with a signed URL, where the account stopped last.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use nebula_api::bookmark::Bookmark;
use nebula_api::file::{File, Link};
use nebula_api::playback::{Capabilities, Playback};
use serde_json::json;
use tokio::process::Command;
use which::which;

use super::{file, project};
use crate::client::Client;
use crate::context::Context;
use crate::error::{Code, Doing, Error, Result};
use crate::output::{clean, duration};
use place::Place;

mod place;

#[derive(Args, Debug)]
pub(crate) struct Play {
    /// Path, name or id of the file; without one, what was played last and is not over
    name: Option<String>,
    /// From the beginning, not where it stopped last
    #[arg(long)]
    from_start: bool,
    /// Print the URL instead, for a player elsewhere; it works without signing in until it expires
    #[arg(long)]
    print_url: bool,
    #[command(flatten)]
    project: project::Choice,
}

/// Plays a file until the player ends.
pub(crate) async fn run(context: &Context, arguments: Play) -> Result<ExitCode> {
    let client = context.client()?;
    let file = match &arguments.name {
        Some(name) => file::find(&client, &arguments.project, name).await?,
        None => last_played(&client, &arguments.project).await?,
    };
    if arguments.print_url {
        let link: Link = client.post(&format!("/api/files/{}/link", file.file_id), &json!({})).await?;
        let url = format!("{}{}", client.server(), link.path);
        context.output.show(&json!({ "url": url, "expiresAt": link.expires_at }), || url.clone())?;
        return Ok(ExitCode::SUCCESS);
    }
    let player = player().ok_or_else(|| {
        Error::new(Code::NotFound, "there is neither mpv nor vlc on this machine")
            .hint("Install one, for example: apt install mpv. Or print the URL: --print-url")
    })?;
    let url = decide(&client, &file).await?;
    let start = file.resume_at.filter(|_| !arguments.from_start);
    if let Some(at) = start.and_then(|at| std::time::Duration::try_from_secs_f64(at).ok()) {
        context.output.note(&format!(
            "{} goes on at {}; --from-start plays it from the beginning",
            clean(&file::path(&file)),
            duration(at)
        ));
    }
    let mut command = Command::new(&player);
    // Only mpv says where it is.
    let place = if player.ends_with("mpv") { Place::listen(&mut command).ok() } else { None };
    if let Some(seconds) = start {
        let option = if place.is_some() { "start" } else { "start-time" };
        command.arg(format!("--{option}={seconds:.1}"));
    }
    let mut running = command.arg(&url).spawn().doing(|| format!("start {}", player.display()))?;
    let status = match place {
        Some(place) => place.follow(&client, file.file_id, &mut running).await,
        None => running.wait().await,
    };
    let status = status.doing(|| format!("wait for {}", player.display()))?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Error::new(Code::Io, format!("{} ended with {status}", player.display()))
        .hint("What it printed above says why; --print-url gives the URL for another player."))
}

/// URL of the form that the gateway chooses for players that decode everything.
async fn decide(client: &Client, file: &File) -> Result<String> {
    let capabilities =
        Capabilities { all_codecs: true, hls: true, interlaced: true, hdr: true, ..Capabilities::default() };
    let path = format!("/api/files/{}/playback", file.file_id);
    let playback: Playback = client.post(&path, &capabilities).await?;
    match playback.url {
        Some(path) => Ok(format!("{}{path}", client.server())),
        None => {
            Err(Error::new(Code::WrongState, format!("{} cannot be played yet", clean(&file::path(file))))
                .hint("How far it is: nebulactl ls"))
        }
    }
}

/// The file of the account's last bookmark.
async fn last_played(client: &Client, choice: &project::Choice) -> Result<File> {
    let project = choice.resolve(client).await?;
    let query = [("projectId", project.project_id.to_string()), ("max", "1".to_owned())];
    let begun: Vec<Bookmark> = client.get("/api/bookmarks", &query).await?;
    match begun.first() {
        Some(bookmark) => file::by_id(client, bookmark.file_id).await,
        None => Err(Error::new(Code::NotFound, "there is nothing that was begun and is not over")
            .hint("Name a file: nebulactl play FILE")),
    }
}

/// The first player on `PATH`.
pub(crate) fn player() -> Option<PathBuf> {
    ["mpv", "vlc"].into_iter().find_map(|name| which(name).ok())
}
