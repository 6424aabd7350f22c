//! `upload`: streams files to the gateway, and follows their conversion.

use std::fs::File as DiskFile;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use futures::TryStreamExt;
use indicatif::ProgressBar;
use nebula_api::file::{File, UploadQuery};
use nebula_api::project::Project;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::{file, project};
use crate::client::{self, Client};
use crate::context::Context;
use crate::error::{Code, Doing, Error, Result};
use crate::live_updates::LiveUpdates;
use crate::output::{bytes, clean, duration};

/// Bytes per read: large enough for the speed of fast disks.
const CHUNK_BYTES: usize = 256 * 1024;

#[derive(Args, Debug)]
pub(crate) struct Upload {
    /// Files to upload
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    project: project::Choice,
    /// Wait until films and music are converted; fail if one cannot be
    #[arg(long)]
    wait: bool,
}

/// Uploads the files in order. A failure does not stop the others, but counts in the exit status.
pub(crate) async fn run(context: &Context, arguments: Upload) -> Result<ExitCode> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let mut results: Vec<Value> = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for path in &arguments.files {
        let uploaded = match send(context, &client, &project, path).await {
            Ok(file) if arguments.wait => follow(context, &client, file).await,
            uploaded => uploaded,
        };
        match uploaded {
            Ok(file) => {
                if file.state == "failed" {
                    code = ExitCode::FAILURE;
                }
                results.push(json!(file));
            }
            Err(error) if error.broken_pipe || arguments.files.len() == 1 => return Err(error),
            Err(error) => {
                code = ExitCode::FAILURE;
                if !context.output.json {
                    context.output.error(&error);
                }
                results.push(json!(error.failure()));
            }
        }
    }
    if context.output.json {
        context.output.show(&results, String::new)?;
    }
    Ok(code)
}

/// Streams one file.
async fn send(context: &Context, client: &Client, project: &Project, path: &Path) -> Result<File> {
    let (name, size) = inspect(path)?;
    let query = UploadQuery { project_id: project.project_id, name: name.clone(), sha256: None };
    let bar = context.output.bytes_bar(&name, size);
    let started = Instant::now();
    let build = || {
        let open = DiskFile::open(path).doing(|| format!("read {}", path.display()))?;
        let request = client.request(Method::POST, "/api/files").query(&query);
        Ok(request.header(CONTENT_LENGTH, size).body(content(open, size, &bar)))
    };
    let answer = client.send(build).await;
    bar.finish_and_clear();
    let answer = answer?;
    // 201 for a new file.
    let was_there = answer.status() == StatusCode::OK;
    let file: File = client::data(answer).await?;
    if was_there {
        let name = clean(&name);
        context.output.message(&format!("{name} is there already with this content; nothing was stored"))?;
        return Ok(file);
    }
    let speed = size as f64 / started.elapsed().as_secs_f64().max(0.001);
    let (time, speed) = (duration(started.elapsed()), bytes(speed as u64));
    context.output.message(&format!("{}  {} in {time}, {speed}/s", clean(&name), bytes(size)))?;
    if file.state == "waiting" {
        context.output.message("  will be converted for playing; follow it with nebulactl jobs --follow")?;
    }
    Ok(file)
}

/// Name and size of a file, checked before anything is sent.
fn inspect(path: &Path) -> Result<(String, u64)> {
    let metadata = path.metadata().doing(|| format!("read {}", path.display()))?;
    if !metadata.is_file() {
        return Err(Error::new(Code::InvalidArgument, format!("{} is not a file", path.display()))
            .hint("Name the files one by one, for example with a pattern: nebulactl upload films/*"));
    }
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Error::new(Code::InvalidArgument, format!("the name of {} is not valid UTF-8", path.display()))
            .hint("Rename it first.")
    })?;
    Ok((name.to_owned(), metadata.len()))
}

/// The content as a stream. If the file grows meanwhile, the stream ends at the announced size.
fn content(open: DiskFile, size: u64, bar: &ProgressBar) -> Body {
    bar.reset();
    let bar = bar.clone();
    let bytes = ReaderStream::with_capacity(tokio::fs::File::from_std(open).take(size), CHUNK_BYTES);
    Body::wrap_stream(bytes.inspect_ok(move |chunk| bar.inc(chunk.len() as u64)))
}

/// Waits until a file is ready or has failed.
async fn follow(context: &Context, client: &Client, mut file: File) -> Result<File> {
    let name = clean(&file.name);
    let bar = context.output.share_bar(&name);
    let started = Instant::now();
    let mut updates = LiveUpdates::new(client);
    let mut told = None;
    while matches!(file.state.as_str(), "waiting" | "processing") {
        bar.set_position((f64::from(file.progress.unwrap_or_default()) * 1000.0) as u64);
        if file.error.is_some() && file.error != told {
            context
                .output
                .message(&format!("  {name} {}", clean(file.error.as_deref().unwrap_or_default())))?;
            told = file.error.take();
        }
        updates.changed().await;
        file = file::by_id(client, file.file_id).await?;
    }
    bar.finish_and_clear();
    if file.state == "failed" {
        let reason = file.error.as_deref().unwrap_or("the reason is with its job");
        let error = Error::new(Code::WrongState, format!("{name} could not be converted: {reason}"));
        if !context.output.json {
            context
                .output
                .error(&error.hint("The upload itself is kept: nebulactl get --original, nebulactl rm"));
        }
    } else {
        context.output.message(&format!(
            "{name}  {} after {}",
            clean(&file.state),
            duration(started.elapsed())
        ))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_a_name_are_uploaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("film.mkv");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(inspect(&path).unwrap(), ("film.mkv".to_owned(), 5));
        assert!(inspect(folder.path()).unwrap_err().to_string().ends_with("is not a file"));
        assert!(inspect(&folder.path().join("none")).unwrap_err().to_string().contains("No such file"));
    }
}
