//! `jobs`: lists, shows, cancels and retries background jobs.

use chrono::Utc;
use clap::{Args, Subcommand};
use nebula_api::job::{Job, JobChange};
use serde_json::Value;

use super::project;
use crate::context::Context;
use crate::error::Result;
use crate::live_updates::LiveUpdates;
use crate::output::{Output, ago, clean, with_progress};

mod screen;

use screen::Screen;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Jobs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List jobs, newest first; the default of `nebulactl jobs`
    List(List),
    /// Show everything about one job
    Show {
        /// Number of the job
        job: i64,
        /// Go on showing it until it has finished
        #[arg(long, short)]
        watch: bool,
    },
    /// Cancel jobs: waiting ones at once, running ones with the next heartbeat of their worker
    Cancel {
        /// Numbers of the jobs
        #[arg(required = true, value_name = "JOB")]
        jobs: Vec<i64>,
    },
    /// Let dead or cancelled jobs run again
    Retry {
        /// Numbers of the jobs
        #[arg(required = true, value_name = "JOB")]
        jobs: Vec<i64>,
    },
}

#[derive(Args, Debug)]
struct List {
    /// Go on showing what changes, until interrupted
    #[arg(long, short, visible_alias = "follow", short_alias = 'f')]
    watch: bool,
    /// Only jobs of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only jobs in this state
    #[arg(long, value_parser = ["blocked", "available", "running", "succeeded", "dead", "cancelled"])]
    state: Option<String>,
    /// Number of jobs at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    max: u16,
    #[command(flatten)]
    project: project::Choice,
}

pub(crate) async fn run(context: &Context, arguments: Jobs) -> Result<()> {
    match arguments.action.unwrap_or(Action::List(arguments.list)) {
        Action::List(arguments) => list(context, arguments).await,
        Action::Show { job, watch } => show(context, job, watch).await,
        Action::Cancel { jobs } => change(context, &jobs, "cancel").await,
        Action::Retry { jobs } => change(context, &jobs, "retry").await,
    }
}

async fn list(context: &Context, arguments: List) -> Result<()> {
    let (client, output) = (context.client()?, context.output);
    let project = arguments.project.resolve(&client).await?;
    let mut query = vec![("projectId", project.project_id.to_string()), ("max", arguments.max.to_string())];
    query.extend(arguments.kind.map(|kind| ("kind", kind)));
    query.extend(arguments.state.map(|state| ("state", state)));
    let mut jobs: Vec<Job> = client.get("/api/jobs", &query).await?;
    if !arguments.watch {
        return output.show(&jobs, || table(output, &jobs));
    }
    let mut updates = LiveUpdates::new(&client);
    let mut screen = Screen::default();
    loop {
        screen.show(output, &jobs)?;
        updates.changed().await;
        jobs = client.get("/api/jobs", &query).await?;
    }
}

async fn show(context: &Context, job: i64, watch: bool) -> Result<()> {
    let (client, output) = (context.client()?, context.output);
    let path = format!("/api/jobs/{job}");
    let mut found: Job = client.get(&path, &[]).await?;
    if !watch {
        return output.show(&found, || page(output, &found));
    }
    let mut updates = LiveUpdates::new(&client);
    let mut screen = Screen::default();
    while found.finished_at.is_none() {
        screen.show(output, std::slice::from_ref(&found))?;
        updates.changed().await;
        found = client.get(&path, &[]).await?;
    }
    output.show(&found, || page(output, &found))
}

/// Cancels or retries the jobs in order; the first refusal ends it.
async fn change(context: &Context, jobs: &[i64], action: &str) -> Result<()> {
    let client = context.client()?;
    for job in jobs {
        let path = format!("/api/jobs/{job}/{action}");
        let change: JobChange = client.post(&path, &serde_json::Map::new()).await?;
        context.output.confirm(&change, || match change.state.as_str() {
            "cancelling" => format!("Job {job} is told to stop."),
            "available" => format!("Job {job} waits for a worker."),
            state => format!("Job {job} is {}.", clean(state)),
        })?;
    }
    Ok(())
}

fn table(output: Output, jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return "No such jobs.".to_owned();
    }
    let now = Utc::now();
    let rows = jobs.iter().map(|job| {
        let attempt = format!("{}/{}", job.attempt, job.max_attempts);
        let worker = job.worker.as_deref().map_or_else(|| "-".to_owned(), clean);
        let at = job.finished_at.or(job.started_at).unwrap_or(job.enqueued_at);
        let state = output.state(&clean(&state(job)));
        [subject(job), job.job_id.to_string(), clean(&job.kind), state, attempt, worker, ago(at, now)]
    });
    output.table(["WHAT", ">JOB", "KIND", "STATE", ">ATTEMPT", "WORKER", "WHEN"], rows.collect())
}

/// One job, a line for each property, then the errors of earlier attempts.
fn page(output: Output, job: &Job) -> String {
    let now = Utc::now();
    let when = |at: Option<chrono::DateTime<Utc>>| at.map(|at| ago(at, now));
    let document =
        |value: &Option<Value>| value.as_ref().filter(|value| !value.is_null()).map(Value::to_string);
    let lines = [
        ("job", Some(format!("{} ({})", job.job_id, job.kind))),
        ("about", Some(subject(job)).filter(|subject| subject != "-")),
        ("state", Some(state(job))),
        ("attempt", Some(format!("{} of {}", job.attempt, job.max_attempts))),
        ("priority", Some(job.priority.to_string())),
        ("worker", job.worker.clone()),
        ("enqueued", when(Some(job.enqueued_at))),
        ("not before", job.run_at.filter(|at| *at > now).map(|at| at.to_rfc3339())),
        ("started", when(job.started_at)),
        ("finished", when(job.finished_at)),
        ("detail", document(&job.detail)),
        ("result", document(&job.result)),
        ("payload", Some(job.payload.to_string())),
    ];
    let shown = lines.into_iter().filter_map(|(word, value)| {
        let value = clean(&value?);
        Some(format!("{word:<11}{}", if word == "state" { output.state(&value) } else { value }))
    });
    let failed = job.errors.as_array().into_iter().flatten().map(|entry| {
        let attempt = entry.get("attempt").map(Value::to_string).unwrap_or_default();
        let error =
            entry.get("error").and_then(Value::as_str).map_or_else(|| entry.to_string(), str::to_owned);
        format!("{:<11}{}", format!("failed {attempt}"), clean(&error))
    });
    shown.chain(failed).collect::<Vec<_>>().join("\n")
}

/// The state as users read it.
fn state(job: &Job) -> String {
    let state = if job.cancel_requested { "cancelling" } else { &job.state };
    with_progress(state, job.progress)
}

/// The name of the file that the job is about.
fn subject(job: &Job) -> String {
    job.payload.get("name").and_then(|name| name.as_str()).map_or_else(|| "-".to_owned(), clean)
}
