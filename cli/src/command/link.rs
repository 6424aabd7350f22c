//! `link`: signed URLs by which any player plays a file, without signing in.

use chrono::{DateTime, Utc};
use clap::Args;
use nebula_api::file::{File, Link};
use serde::Serialize;
use serde_json::json;

use super::{file, project};
use crate::client::Client;
use crate::context::Context;
use crate::error::Result;
use crate::output::{clean, duration};

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Path, name or id of the file
    name: String,
    /// Print a playlist (M3U) for VLC, which begins where you stopped last
    #[arg(long)]
    m3u: bool,
    #[command(flatten)]
    project: project::Choice,
}

/// The links to a file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Links {
    name: String,
    /// The file as it was uploaded.
    file: String,
    /// Playlist of its streams, in the quality that the line takes; none, or not yet.
    stream: Option<String>,
    expires_at: DateTime<Utc>,
    /// Seconds at which the account stopped last.
    resume_at: Option<f64>,
}

pub(crate) async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let client = context.client()?;
    let file = file::find(&client, &arguments.project, &arguments.name).await?;
    let original = link(&client, &file, "original").await?;
    let stream = match link(&client, &file, "hls").await {
        Ok(link) => Some(link),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let url = |link: Link| format!("{}{}", client.server(), link.path);
    let links = Links {
        name: file::path(&file),
        expires_at: original.expires_at,
        file: url(original),
        stream: stream.map(url),
        resume_at: file.resume_at,
    };
    context.output.show(&links, || match (arguments.m3u, context.output.quiet) {
        (true, _) => links.playlist(),
        (false, true) => links.file.clone(),
        (false, false) => links.text(),
    })
}

async fn link(client: &Client, file: &File, rendition: &str) -> Result<Link> {
    client.post(&format!("/api/files/{}/link?rendition={rendition}", file.file_id), &json!({})).await
}

impl Links {
    /// A playlist of one film. Lines that begin with `#EXTVLCOPT` are VLC's own; other players skip them.
    fn playlist(&self) -> String {
        let start = self.resume_at.map(|at| format!("#EXTVLCOPT:start-time={at:.1}\n")).unwrap_or_default();
        format!("#EXTM3U\n#EXTINF:-1,{}\n{start}{}", clean(&self.name), self.file)
    }

    fn text(&self) -> String {
        let mut text = format!("file    {}", self.file);
        if let Some(stream) = &self.stream {
            text += &format!("\nstream  {stream}");
        }
        text += &format!(
            "\nThey play without signing in until {}.",
            self.expires_at.format("%Y-%m-%d %H:%M UTC")
        );
        if let Some(at) = self.resume_at.and_then(|at| std::time::Duration::try_from_secs_f64(at).ok()) {
            let seconds = at.as_secs_f64();
            text += &format!(
                "\nYou stopped at {}: mpv --start={seconds:.1} URL, vlc --start-time={seconds:.1} URL",
                duration(at)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playlist_begins_where_the_account_stopped_and_names_break_no_line() {
        let mut links = Links {
            name: "a\nb.mkv".to_owned(),
            file: "http://gateway/x?token=y".to_owned(),
            stream: None,
            expires_at: DateTime::UNIX_EPOCH,
            resume_at: Some(61.25),
        };
        let text = links.playlist();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            (lines.len(), lines[2], lines[3]),
            (4, "#EXTVLCOPT:start-time=61.2", "http://gateway/x?token=y")
        );
        links.resume_at = None;
        assert_eq!(links.playlist().lines().count(), 3);
    }
}
