//! `get`: downloads into `NAME.part`, continues an interrupted download, and verifies the checksum.

use std::fs::{self, File as DiskFile, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use nebula_api::file::File;
use openssl::sha::Sha256;
use reqwest::header::{CONTENT_RANGE, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use super::{file, project};
use crate::client::{Client, root_cause};
use crate::context::Context;
use crate::error::{Code, Doing, Error, Result};
use crate::output::{bytes, clean};
use stream::Stream;

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
        return stream.fill(context, &client, &wanted).await;
    }
    let target = arguments.output.unwrap_or_else(|| PathBuf::from(&wanted.name));
    if target.exists() {
        let detail = format!("{} exists already", target.display());
        return Err(Error::new(Code::AlreadyExists, detail).hint("Name another file with --output."));
    }
    let mut part = PartialFile::open(&target)?;
    let bar = context.output.bytes_bar(&wanted.name, wanted.size);
    let received = part.fill(&client, &wanted, &bar).await;
    bar.finish_and_clear();
    received?;
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

/// The part that has arrived, locked against other processes.
struct PartialFile {
    path: PathBuf,
    file: DiskFile,
    length: u64,
    hash: Sha256,
}

impl PartialFile {
    fn open(target: &Path) -> Result<Self> {
        let path = part_path(target);
        let file = OpenOptions::new().create(true).read(true).append(true).open(&path);
        let file = file.doing(|| format!("write {}", path.display()))?;
        file.try_lock().map_err(|_| {
            Error::new(
                Code::WrongState,
                format!("{} is being downloaded by another nebulactl", target.display()),
            )
            .hint("Wait for it, or name another file with --output.")
        })?;
        Ok(Self { path, file, length: 0, hash: Sha256::new() })
    }

    /// Downloads the rest.
    async fn fill(&mut self, client: &Client, wanted: &Wanted, bar: &ProgressBar) -> Result<()> {
        self.resume(wanted.size)?;
        bar.set_position(self.length);
        if self.length == wanted.size {
            return Ok(());
        }
        let build = || {
            let request =
                client.request(Method::GET, &wanted.path).query(&[("rendition", &wanted.rendition)]);
            if self.length == 0 {
                return Ok(request);
            }
            // The gateway's ETag is the checksum. With another ETag the whole content is sent, which is
            // correct, too.
            let tag = format!("\"{}\"", wanted.sha256);
            Ok(request.header(RANGE, format!("bytes={}-", self.length)).header(IF_RANGE, tag))
        };
        let response = client.send(build).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            self.empty()?;
        } else if range_start(&response) != Some(self.length) {
            let detail =
                format!("the server answered another range of \"{}\" than was asked for", wanted.name);
            return Err(Error::new(Code::Protocol, detail)
                .hint(format!("Remove {} and try again.", self.path.display())));
        }
        bar.set_position(self.length);
        self.receive(response, wanted, bar).await
    }

    async fn receive(&mut self, mut response: Response, wanted: &Wanted, bar: &ProgressBar) -> Result<()> {
        let broken = |reason: String| {
            Error::new(Code::Unreachable, format!("the download broke off: {reason}"))
                .hint("Run the same command again; it goes on where it stopped.")
        };
        loop {
            let next = timeout(STALL_TIMEOUT, response.chunk()).await;
            let next = next.map_err(|_| broken(format!("nothing came for {} s", STALL_TIMEOUT.as_secs())))?;
            let Some(chunk) = next.map_err(|error| broken(root_cause(&error)))? else { break };
            self.file.write_all(&chunk).doing(|| format!("write {}", self.path.display()))?;
            self.hash.update(&chunk);
            self.length += chunk.len() as u64;
            bar.set_position(self.length);
            if self.length > wanted.size {
                break;
            }
        }
        if self.length < wanted.size {
            Err(broken("the server closed the connection".to_owned()))
        } else {
            Ok(())
        }
    }

    /// Hashes the bytes that earlier downloads have left.
    fn resume(&mut self, limit: u64) -> Result<()> {
        let mut read = || {
            self.file.rewind()?;
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match self.file.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => {
                        self.hash.update(&buffer[..count]);
                        self.length += count as u64;
                    }
                }
            }
        };
        read().doing(|| format!("read {}", self.path.display()))?;
        if self.length > limit { self.empty() } else { Ok(()) }
    }

    fn empty(&mut self) -> Result<()> {
        (self.length, self.hash) = (0, Sha256::new());
        self.file.set_len(0).doing(|| format!("write {}", self.path.display()))
    }

    /// Verifies the checksum and renames the file to its final name.
    fn finish(self, wanted: &Wanted, target: &Path) -> Result<()> {
        if hex::encode(self.hash.clone().finish()) != wanted.sha256 {
            // The next try verifies a part that could not be removed.
            let _ = fs::remove_file(&self.path);
            let detail = format!("what arrived is not \"{}\": its checksum differs", wanted.name);
            return Err(Error::new(Code::Damaged, detail).hint("It was removed; run the same command again."));
        }
        self.file.sync_all().doing(|| format!("write {}", self.path.display()))?;
        fs::rename(&self.path, target).doing(|| format!("write {}", target.display()))
    }
}

/// Longest name that file systems take.
const MAX_NAME: usize = 255;
const SUFFIX: &str = ".part";

/// `NAME.part`. A name that leaves no room for the suffix gives its end to a hash of itself, so that two long
/// names have two parts.
fn part_path(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default();
    let mut part = name.to_owned();
    if name.len() + SUFFIX.len() > MAX_NAME {
        let hash = hex::encode(&openssl::sha::sha256(name.as_encoded_bytes())[..8]);
        let text = name.to_string_lossy();
        let kept = text.floor_char_boundary(MAX_NAME - SUFFIX.len() - hash.len() - 1);
        part = format!("{}~{hash}", &text[..kept]).into();
    }
    part.push(SUFFIX);
    target.with_file_name(part)
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
            name: name.to_owned(),
            size: 10,
            sha256: "cd".to_owned(),
            content_type: "video/x-matroska".to_owned(),
            owner: None,
            uploaded_at: made_at,
            state: "ready".to_owned(),
            progress: None,
            error: None,
            job_id: None,
            renditions: vec![web],
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
    fn parts_of_long_names_fit_into_a_folder_and_are_told_apart() {
        assert_eq!(part_path(Path::new("a/film.mkv")), Path::new("a/film.mkv.part"));
        assert_eq!(part_path(Path::new(&"x".repeat(250))).as_os_str().len(), 255);
        let folder = tempfile::tempdir().unwrap();
        for name in ["x".repeat(251), "x".repeat(255), "…".repeat(85), format!("{}y", "x".repeat(254))] {
            let path = part_path(&folder.path().join(name));
            assert!(path.file_name().unwrap().to_str().unwrap().ends_with(SUFFIX), "{}", path.display());
            fs::write(path, "half").unwrap();
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 4);
    }

    #[test]
    fn unsafe_file_names_are_refused() {
        for name in ["../../etc/passwd", "/etc/passwd", ".bashrc", "..", "a\u{1b}[2J"] {
            assert!(choose(&film(name, "video/mp4"), true).is_err(), "{name}");
        }
    }
}
