//! `get`: downloads into `NAME.part`, continues an interrupted download, and verifies the checksum.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use nebula_api::file::File;
use reqwest::header::{CONTENT_RANGE, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;
use tokio::time::sleep;

use super::{file, project};
use crate::client::Client;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{bytes, clean};
use crate::retry::{Retry, RetryOptions};
use partial::PartialFile;
use stream::Stream;

mod partial;
mod stream;

/// A connection on which nothing arrives for this time is considered dead.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct Get {
    /// Name or id of the file
    name: String,
    /// The file as it was uploaded, even if there is a version made for playing
    #[arg(long)]
    original: bool,
    /// Where to write it [default: its name, here]; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    project: project::Choice,
    #[command(flatten)]
    retry: RetryOptions,
}

/// The content to download.
struct Wanted {
    path: String,
    rendition: String,
    name: String,
    size: u64,
    sha256: String,
}

pub(crate) async fn run(context: &Context, arguments: Get) -> Result<()> {
    let client = context.client()?;
    let file = file::find(&client, &arguments.project, &arguments.name).await?;
    let wanted = choose(&file, arguments.original)?;
    if let Some(stream) = arguments.output.as_deref().and_then(Stream::named) {
        return stream.fill(context, &client, &wanted, arguments.retry).await;
    }
    let target = arguments.output.unwrap_or_else(|| PathBuf::from(&wanted.name));
    if target.exists() {
        let detail = format!("{} exists already", target.display());
        return Err(Error::new(Code::AlreadyExists, detail).hint("Name another file with --output."));
    }
    if !arguments.original
        && wanted.rendition == "original"
        && ["waiting", "processing"].contains(&&*file.state)
    {
        context
            .output
            .note("what is made from it for playing is not ready yet: this is the file as it was uploaded");
    }
    let mut part = PartialFile::open(&target)?;
    let bar = context.output.bytes_bar(&wanted.name, wanted.size);
    part.resume(wanted.size)?;
    let mut retry = Retry::new(arguments.retry);
    while let Err(error) = part.fill(&client, &wanted, &bar).await {
        let Some(delay) = retry.after(&error, part.length()) else {
            bar.finish_and_clear();
            return Err(error);
        };
        bar.suspend(|| wait_note(context, &error, delay));
        sleep(delay).await;
    }
    bar.finish_and_clear();
    part.finish(&wanted, &target)?;
    let value = json!({ "file": target, "name": wanted.name, "size": wanted.size, "sha256": wanted.sha256 });
    let text = || format!("{}  {}, checksum verified", target.display(), bytes(wanted.size));
    context.output.confirm(&value, text)
}

/// The rendition for playing if there is one, else the upload.
fn choose(file: &File, original: bool) -> Result<Wanted> {
    let web = file.renditions.iter().find(|rendition| rendition.kind == "web" && !original);
    let (rendition, size, sha256, name) = match web {
        Some(web) => {
            let stem = Path::new(&file.name).file_stem().unwrap_or_default().to_string_lossy();
            let extension = if web.content_type.starts_with("audio/") { "m4a" } else { "mp4" };
            ("web", web.size, &web.sha256, format!("{stem}.{extension}"))
        }
        None => ("original", file.size, &file.sha256, file.name.clone()),
    };
    // The name comes from another machine and must not lead out of this folder.
    if name.contains('/') || name.starts_with('.') || clean(&name) != name {
        return Err(Error::new(
            Code::InvalidArgument,
            format!("\"{}\" is not a safe file name", clean(&name)),
        )
        .hint("Name one with --output."));
    }
    let path = format!("/api/files/{}/content", file.file_id);
    let sha256 = sha256.to_ascii_lowercase();
    Ok(Wanted { path, rendition: rendition.to_owned(), name, size: size.unsigned_abs(), sha256 })
}

/// Says why a download does not go on now.
fn wait_note(context: &Context, error: &Error, delay: Duration) {
    let seconds = delay.as_secs().max(1);
    context.output.note(&format!("{}; trying again in {seconds} s", clean(&error.to_string())));
}

/// Asks for the content from an offset on. The gateway's ETag is the checksum; content with another one is sent
/// whole, with another status.
async fn ask(client: &Client, wanted: &Wanted, offset: u64) -> Result<Response> {
    let build = || {
        let request = client.request(Method::GET, &wanted.path).query(&[("rendition", &wanted.rendition)]);
        if offset == 0 {
            return Ok(request);
        }
        let tag = format!("\"{}\"", wanted.sha256);
        Ok(request.header(RANGE, format!("bytes={offset}-")).header(IF_RANGE, tag))
    };
    let response = client.send(build).await?;
    if response.status() == StatusCode::PARTIAL_CONTENT && range_start(&response) != Some(offset) {
        let detail = format!("the server answered another range of \"{}\" than was asked for", wanted.name);
        return Err(Error::new(Code::Protocol, detail).hint("Remove what has arrived and try again."));
    }
    Ok(response)
}

/// The first byte of a partial response: `bytes 100-199/200`.
fn range_start(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use nebula_api::file::Rendition;
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    fn film(name: &str, content_type: &str) -> File {
        let made_at = Utc::now();
        let web = Rendition {
            kind: "web".to_owned(),
            size: 7,
            content_type: content_type.to_owned(),
            sha256: "AB".to_owned(),
            made_at,
            detail: Value::Null,
        };
        File {
            file_id: Uuid::nil(),
            project_id: Uuid::nil(),
            folder: String::new(),
            name: name.to_owned(),
            size: 10,
            sha256: "cd".to_owned(),
            content_type: "video/x-matroska".to_owned(),
            kind: "film".to_owned(),
            duration: None,
            tags: Vec::new(),
            owner: None,
            uploaded_at: made_at,
            deleted_at: None,
            resume_at: None,
            state: "ready".to_owned(),
            progress: None,
            error: None,
            job_id: None,
            renditions: vec![web],
            summary: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn the_rendition_for_playing_is_preferred() {
        let wanted = choose(&film("a.b.mkv", "video/mp4"), false).unwrap();
        assert_eq!((wanted.name.as_str(), wanted.size, wanted.sha256.as_str()), ("a.b.mp4", 7, "ab"));
        assert_eq!(choose(&film("song.ogg", "audio/mp4"), false).unwrap().name, "song.m4a");
        let original = choose(&film("a.mkv", "video/mp4"), true).unwrap();
        assert_eq!(
            (original.name.as_str(), original.rendition.as_str(), original.size),
            ("a.mkv", "original", 10)
        );
    }

    #[test]
    fn unsafe_file_names_are_refused() {
        for name in ["../../etc/passwd", "/etc/passwd", ".bashrc", "..", "a\u{1b}[2J"] {
            assert!(choose(&film(name, "video/mp4"), true).is_err(), "{name}");
        }
    }
}
