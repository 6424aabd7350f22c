//! `upload`: sends files and folders to the gateway, several at once, and goes on where it was interrupted.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures::{StreamExt, stream};
use nebula_api::file::File;
use nebula_api::project::Project;
use serde_json::{Value, json};
use tokio::time::{interval, sleep};

use super::project;
use crate::client::Client;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{bytes, clean, duration};
use crate::retry::{Retry, RetryOptions, is_passing};
use journal::Journal;
use pace::Pace;
use progress::Progress;
use source::{Refused, Source, Sources};
use transfer::{Target, Uploaded};
use tus::Known;

mod follow;
mod journal;
mod pace;
mod progress;
mod reader;
mod source;
mod transfer;
mod tus;

#[derive(Args, Debug)]
#[command(after_help = "\
An upload that was interrupted goes on where it stopped when the same command is run again, for 7 days; \
which ones have begun is kept in $XDG_STATE_HOME/nebulactl or ~/.local/state/nebulactl.")]
pub(crate) struct Upload {
    /// Files and folders to upload; folders keep their structure
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    project: project::Choice,
    /// Files that are sent at the same time
    #[arg(long, short = 'j', default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    parallel: u8,
    /// Also take the hidden files of folders
    #[arg(long)]
    hidden: bool,
    /// Bytes per second at most, of all files together: 800K, 2M
    #[arg(long, value_name = "RATE", value_parser = pace::parse)]
    limit_rate: Option<u64>,
    #[command(flatten)]
    retry: RetryOptions,
    /// With --json: one document per event and line, instead of one at the end
    #[arg(long)]
    progress: bool,
    /// Wait until films and music are converted; fail if one cannot be
    #[arg(long)]
    wait: bool,
}

/// The outcome of each file.
#[derive(Default)]
struct Results {
    /// Numbers of the sources and the files at the gateway.
    uploaded: Vec<(usize, File, Option<Known>)>,
    refused: Vec<Refused>,
    /// The failure that ended the command, and how many files are left.
    ended: Option<(Error, usize)>,
}

/// Uploads the files. A failure of one does not stop the others, but counts in the exit status.
pub(crate) async fn run(context: &Context, arguments: Upload) -> Result<ExitCode> {
    let client = context.client()?;
    let project = resolve(context, &client, &arguments).await?;
    let sources = Sources::collect(&arguments.paths, arguments.hidden);
    if sources.hidden > 0 {
        context.output.note(&format!("{} hidden files are left out; --hidden takes them", sources.hidden));
    }
    let journal = Journal::open(client.server(), project.project_id)?;
    journal.sweep();
    let pace = Arc::new(Pace::new(arguments.limit_rate));
    let (retry, project) = (arguments.retry, project.project_id);
    let target = Target { client: &client, project, journal, retry, pace };
    let progress = Progress::new(context.output, arguments.progress, &sources.files);
    let is_single = sources.files.len() + sources.refused.len() == 1;
    let mut results = Results { refused: sources.refused, ..Results::default() };
    send(&target, &progress, &sources.files, arguments.parallel.into(), &mut results).await?;
    progress.finish();
    results.uploaded.sort_by_key(|(number, ..)| *number);
    if arguments.wait {
        for (_, file, _) in &mut results.uploaded {
            *file = follow::follow(context, &client, file.clone()).await?;
        }
    }
    if is_single && results.uploaded.is_empty() {
        let ended = results.ended.map(|(error, _)| error);
        let only = ended.or_else(|| results.refused.pop().map(|refused| refused.error));
        return only.map_or(Ok(ExitCode::SUCCESS), Err);
    }
    results.report(context, &progress, &sources.files)
}

/// The project that is meant. Waits for a gateway whose database is away, as the uploads do; one that does not answer
/// at all may be misspelt, and is told at once.
async fn resolve(context: &Context, client: &Client, arguments: &Upload) -> Result<Project> {
    let mut retry = Retry::new(arguments.retry);
    loop {
        let error = match arguments.project.resolve(client).await {
            Ok(project) => return Ok(project),
            Err(error) => error,
        };
        match retry.after(&error, 0).filter(|_| error.status.is_some()) {
            Some(delay) => {
                context.output.note(&format!("{error}; trying again in {}", duration(delay)));
                sleep(delay).await;
            }
            None => return Err(error),
        }
    }
}

/// Sends the files, several at the same time.
async fn send(
    target: &Target<'_>,
    progress: &Progress,
    files: &[Source],
    parallel: usize,
    results: &mut Results,
) -> Result<()> {
    let uploads = stream::iter(files.iter().enumerate()).map(|(number, source)| async move {
        let (meter, started) = (progress.meter(source), Instant::now());
        let uploaded = target.upload(source, progress, &meter).await;
        // Bytes that were at the gateway before do not count as speed.
        let sent = meter.sent_here();
        meter.finish();
        (number, uploaded, sent, started.elapsed())
    });
    let mut uploads = std::pin::pin!(uploads.buffer_unordered(parallel));
    let mut ticks = interval(progress::TICK);
    let mut left = files.len();
    loop {
        let next = tokio::select! {
            next = uploads.next() => next,
            _ = ticks.tick() => {
                progress.tick();
                continue;
            }
        };
        let Some((number, uploaded, sent, time)) = next else { return Ok(()) };
        let source = &files[number];
        left -= usize::from(!matches!(&uploaded, Err(error) if is_lasting(error)));
        match uploaded {
            Ok(uploaded) => {
                tell(progress, source, &uploaded, (sent, time))?;
                results.uploaded.push((number, uploaded.file, uploaded.known));
            }
            Err(error) if error.broken_pipe => return Err(error),
            // The same failure would keep the others from being sent, too.
            Err(error) if is_lasting(&error) => {
                results.ended = Some((error, left));
                return Ok(());
            }
            Err(error) => {
                progress
                    .event(|| json!({ "event": "refused", "path": source.path, "error": error.failure() }));
                results.refused.push(Refused { path: source.path.clone(), error });
            }
        }
    }
}

/// Whether a failure, after all tries, would be that of every other file.
fn is_lasting(error: &Error) -> bool {
    is_passing(error) || error.failure().error == "not_authenticated"
}

/// Says that a file has arrived.
fn tell(
    progress: &Progress,
    source: &Source,
    uploaded: &Uploaded,
    (sent, time): (u64, Duration),
) -> Result<()> {
    let Uploaded { file, known } = uploaded;
    progress.event(|| {
        let mut event = described(source, file, *known);
        event["event"] = json!("uploaded");
        event
    });
    let name = clean(&source.shown());
    if *known == Some(Known::File) {
        return progress.message(&format!("{name} is there already with this content; nothing was stored"));
    }
    let speed = bytes((sent as f64 / time.as_secs_f64().max(0.001)) as u64);
    let before = if sent < source.size {
        format!(", {} of it before", bytes(source.size - sent))
    } else {
        String::new()
    };
    progress.message(&format!("{name}  {} in {}, {speed}/s{before}", bytes(source.size), duration(time)))?;
    if *known == Some(Known::Content) {
        progress.message("  the project has the same bytes under another name; they are stored once")?;
    }
    if file.state == "waiting" {
        progress.message("  will be converted for playing; follow it with nebulactl jobs --follow")?;
    }
    Ok(())
}

fn described(source: &Source, file: &File, known: Option<Known>) -> Value {
    let mut value = json!(file);
    value["path"] = json!(source.path.display().to_string());
    value["duplicate"] = match known {
        None => Value::Null,
        Some(Known::File) => json!("file"),
        Some(Known::Content) => json!("content"),
    };
    value
}

impl Results {
    /// Lists what was refused, after all that went well, and answers the exit status.
    fn report(mut self, context: &Context, progress: &Progress, sources: &[Source]) -> Result<ExitCode> {
        let failed = self.uploaded.iter().any(|(_, file, _)| file.state == "failed");
        let (json, refused) = (context.output.json, self.refused.len());
        if json && !progress.has_events() {
            let uploaded = self.uploaded.iter();
            let mut all: Vec<Value> =
                uploaded.map(|(number, file, known)| described(&sources[*number], file, *known)).collect();
            all.extend(self.refused.iter().map(|refused| {
                let mut value = json!(refused.error.failure());
                value["path"] = json!(refused.path.display().to_string());
                value
            }));
            all.extend(self.ended.iter().map(|(error, _)| json!(error.failure())));
            context.output.show(&all, String::new)?;
        }
        progress
            .event(|| json!({ "event": "finished", "uploaded": self.uploaded.len(), "refused": refused }));
        if !json {
            if refused > 0 {
                context.output.message(&format!("{refused} files were not uploaded:"))?;
            }
            for Refused { path, error } in self.refused.drain(..) {
                let path = path.display().to_string();
                let is_named = error.to_string().contains(&path);
                context.output.error(&if is_named { error } else { error.about(&path) });
            }
            if let Some((error, left)) = &self.ended {
                context.output.error(error);
                context.output.note(&format!("{left} files are left; the same command goes on with them"));
            }
        }
        let is_good = refused == 0 && self.ended.is_none() && !failed;
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
