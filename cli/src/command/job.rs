//! `jobs`: background work, once or as it goes.

use std::collections::HashMap;

use chrono::Utc;
use clap::Args;
use console::Term;
use nebula_api::job::Job;

use super::{Context, project};
use crate::error::{Doing, Result};
use crate::output::{Output, ago, clean, with_progress};
use crate::watch::Watch;

#[derive(Args, Debug)]
pub(crate) struct Jobs {
    /// Go on showing what changes, until interrupted
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    project: project::Choice,
}

/// Lists the jobs of a project.
///
/// # Errors
/// Whatever the gateway says.
pub(crate) async fn run(context: &Context, arguments: Jobs) -> Result<()> {
    let (client, output) = (context.client()?, context.output);
    let project = arguments.project.resolve(&client).await?;
    let query = [("projectId", project.project_id.to_string())];
    let mut jobs: Vec<Job> = client.get("/api/jobs", &query).await?;
    if !arguments.follow {
        return output.show(&jobs, || table(output, &jobs));
    }
    let mut watch = Watch::new(&client);
    let mut screen = Screen::default();
    loop {
        screen.show(output, &jobs)?;
        watch.changed().await;
        jobs = client.get("/api/jobs", &query).await?;
    }
}

/// What is shown already: on a terminal the table is drawn again, elsewhere each change is a line.
#[derive(Default)]
struct Screen {
    lines: usize,
    told: HashMap<i64, String>,
}

impl Screen {
    fn show(&mut self, output: Output, jobs: &[Job]) -> Result<()> {
        if output.live() {
            let term = Term::stdout();
            let room = usize::from(term.size().0).saturating_sub(3).max(1);
            let text = table(output, &jobs[..jobs.len().min(room)]);
            term.clear_last_lines(self.lines).doing(|| "write to the terminal".to_owned())?;
            self.lines = text.lines().count();
            return output.line(&text);
        }
        // Oldest first, as a log reads.
        for job in jobs.iter().rev() {
            let state = with_progress(&job.state, job.progress);
            if self.told.get(&job.job_id) == Some(&state) {
                continue;
            }
            output.show(job, || {
                format!("{}  {}  {}  {}", job.job_id, clean(&job.kind), subject(job), clean(&state))
            })?;
            self.told.insert(job.job_id, state);
        }
        Ok(())
    }
}

fn table(output: Output, jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return "No jobs yet.".to_owned();
    }
    let now = Utc::now();
    let rows = jobs.iter().map(|job| {
        let state = output.state(&clean(&with_progress(&job.state, job.progress)));
        let attempt = format!("{}/{}", job.attempt, job.max_attempts);
        let worker = job.worker.as_deref().map_or_else(|| "-".to_owned(), clean);
        let at = job.finished_at.or(job.started_at).unwrap_or(job.enqueued_at);
        [subject(job), job.job_id.to_string(), clean(&job.kind), state, attempt, worker, ago(at, now)]
    });
    output.table(["WHAT", ">JOB", "KIND", "STATE", ">ATTEMPT", "WORKER", "WHEN"], rows.collect())
}

/// What the job is about, as far as people know it.
fn subject(job: &Job) -> String {
    job.payload.get("name").and_then(|name| name.as_str()).map_or_else(|| "-".to_owned(), clean)
}
