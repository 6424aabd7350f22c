//! Jobs over HTTP and with `nebulactl`: listed, followed, cancelled and retried by members of their project
//! only.

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream::BoxStream;
use nebula_api::event::Change;
use nebula_api::job::{Job, JobChange};
use nebula_tests::EVENT_TIMEOUT;
use nebula_tests::api::{Api, data, good, refusal};
use nebula_tests::binary::run;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use tokio::time::timeout;
use tokio_postgres::Client;
use uuid::Uuid;

const KIND: &str = "story.http";

async fn enqueue(client: &Client, project: Option<Uuid>) -> Result<i64> {
    let sql = "SELECT nebula.enqueue_job($1, '{\"name\": \"a film\"}', project_id => $2, max_attempts => 1)";
    Ok(client.query_one(sql, &[&KIND, &project]).await?.get(0))
}

async fn claim(client: &Client) -> Result<(i64, i32)> {
    super::claim(client, KIND, 1).await?.first().copied().context("nothing to claim")
}

async fn change(api: &Api, job: i64, action: &str) -> Result<JobChange> {
    data(api.post(&format!("/api/jobs/{job}/{action}")).send().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn members_cancel_and_retry_jobs_of_their_project() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    let api = stack.member("maria").await?;
    let waiting = enqueue(&client, Some(stack.project)).await?;
    assert_eq!(change(&api, waiting, "cancel").await?.state, "cancelled");
    assert_eq!(change(&api, waiting, "retry").await?.state, "available");
    let (job, attempt) = claim(&client).await?;
    assert_eq!(job, waiting);
    assert_eq!(change(&api, job, "cancel").await?.state, "cancelling");
    let seen: Job = api.read(&format!("/api/jobs/{job}")).await?;
    assert!(seen.cancel_requested && seen.state == "running");
    let end: String =
        client.query_one("SELECT nebula.fail_job($1, $2, 'as asked')", &[&job, &attempt]).await?.get(0);
    assert_eq!(end, "cancelled");
    let listed: Vec<Job> = api.read(&format!("/api/jobs?kind={KIND}&state=cancelled&max=5")).await?;
    assert_eq!(listed.iter().map(|job| job.job_id).collect::<Vec<_>>(), [job]);
    let older: Vec<Job> = api.read(&format!("/api/jobs?before={job}")).await?;
    assert!(older.iter().all(|older| older.job_id < job));
    // The actor is recorded.
    let record = "SELECT count(*) FROM nebula.event WHERE subject = 'job' AND subject_id = $1
                   AND actor LIKE '%maria%'";
    let recorded: i64 = client.query_one(record, &[&job.to_string()]).await?.get(0);
    assert_eq!(recorded, 3, "cancelled, revived, cancelled");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_far_time_does_not_break_the_list() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    let mut jobs = Vec::new();
    for run_at in ["infinity", "-infinity", "290000-01-01"] {
        let sql = format!("SELECT nebula.enqueue_job('{KIND}', '{{}}', run_at => '{run_at}')");
        jobs.insert(0, client.query_one(&sql, &[]).await?.get::<_, i64>(0));
    }
    let api = stack.admin().await?;
    // Waiting, then cancelled.
    for waits in [true, false] {
        let listed: Vec<Job> = api.read("/api/jobs").await?;
        assert_eq!(listed.iter().map(|job| job.job_id).collect::<Vec<_>>(), jobs);
        for job in &jobs {
            let _: Job = api.read(&format!("/api/jobs/{job}")).await?;
            if waits {
                client.execute("SELECT nebula.cancel_job($1)", &[job]).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_users_and_states_are_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    let (admin, member) = (stack.admin().await?, stack.member("mallory").await?);
    let other: Uuid = client.query_one("SELECT nebula.create_project('other')", &[]).await?.get(0);
    let mine = enqueue(&client, Some(stack.project)).await?;
    let (mine, attempt) = claim(&client).await.inspect(|(job, _)| assert_eq!(*job, mine))?;
    client.execute("SELECT nebula.complete_job($1, $2)", &[&mine, &attempt]).await?;
    let foreign = enqueue(&client, Some(other)).await?;
    let nobodys = enqueue(&client, None).await?;
    for (path, status, sqlstate) in [
        (format!("{mine}/cancel"), StatusCode::CONFLICT, "55000"),
        (format!("{mine}/retry"), StatusCode::CONFLICT, "55000"),
        (format!("{foreign}/cancel"), StatusCode::NOT_FOUND, "P0002"),
        (format!("{foreign}/retry"), StatusCode::NOT_FOUND, "P0002"),
        (format!("{nobodys}/cancel"), StatusCode::NOT_FOUND, "P0002"),
        ("999999/cancel".into(), StatusCode::NOT_FOUND, "P0002"),
        ("-1/retry".into(), StatusCode::NOT_FOUND, "P0002"),
        ("abc/cancel".into(), StatusCode::BAD_REQUEST, "22023"),
        ("99999999999999999999/cancel".into(), StatusCode::BAD_REQUEST, "22023"),
    ] {
        let refused = refusal(member.post(&format!("/api/jobs/{path}")).send().await?).await?;
        assert_eq!((refused.status, refused.failure.sqlstate.as_str()), (status, sqlstate), "{path}");
        assert!(refused.failure.hint.is_some(), "{path}: {:?}", refused.failure);
    }
    for query in ["state=asleep", "max=many", "projectid=x", "before=x"] {
        let refused = refusal(member.get(&format!("/api/jobs?{query}")).send().await?).await?;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let refused = refusal(member.get(&format!("/api/jobs/{foreign}")).send().await?).await?;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let seen: Vec<Job> = member.read("/api/jobs").await?;
    assert_eq!(seen.iter().map(|job| job.job_id).collect::<Vec<_>>(), [mine]);
    for job in [foreign, nobodys] {
        assert_eq!(change(&admin, job, "cancel").await?.state, "cancelled", "administrators see all");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_stream_has_every_change() -> Result<()> {
    every_change_is_told(&Stack::start().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_stream_has_changes_by_the_background_worker() -> Result<()> {
    let (_cluster, database) = super::cluster_with_worker(true, &["fsync=off"]).await?;
    every_change_is_told(&Stack::start_on(database, "25519").await?).await
}

/// One change after the other, because several at once may arrive as one event.
async fn every_change_is_told(stack: &Stack) -> Result<()> {
    let client = stack.database.connect().await?;
    let api = stack.member("watcher").await?;
    let answer = good(api.get("/api/stream").send().await?).await?;
    let mut frames = answer.bytes_stream().map(|chunk| chunk.map(|chunk| chunk.to_vec())).boxed();
    // After the first frame the stream is subscribed, so no later event is missed.
    frames.next().await.context("the stream has ended")??;
    let job = enqueue(&client, Some(stack.project)).await?;
    told(&mut frames, job, "enqueue").await?;
    let attempt = claim(&client).await?.1;
    told(&mut frames, job, "claim").await?;
    client.execute("SELECT nebula.heartbeat_job($1, $2, 0.5)", &[&job, &attempt]).await?;
    told(&mut frames, job, "progress").await?;
    client.execute("SELECT nebula.complete_job($1, $2)", &[&job, &attempt]).await?;
    told(&mut frames, job, "complete").await
}

/// Waits for this event of the job on the stream.
async fn told(frames: &mut BoxStream<'_, reqwest::Result<Vec<u8>>>, job: i64, action: &str) -> Result<()> {
    let mut text = String::new();
    let listening = async {
        loop {
            text.push_str(std::str::from_utf8(&frames.next().await.context("the stream has ended")??)?);
            let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
            let mut changes = data.filter_map(|data| serde_json::from_str::<Change>(data).ok());
            if changes.any(|change| change.id == job.to_string() && change.action == action) {
                return anyhow::Ok(());
            }
        }
    };
    timeout(EVENT_TIMEOUT, listening).await.with_context(|| format!("no word of {action}"))?
}

#[tokio::test(flavor = "multi_thread")]
async fn nebulactl_lists_shows_cancels_and_retries_jobs() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    let job = enqueue(&client, Some(stack.project)).await?;
    let id = job.to_string();
    let listed: Vec<Job> = serde_json::from_str(&run(stack.ctl()?.args(["--json", "jobs"]))?)?;
    assert_eq!(listed.iter().map(|job| job.job_id).collect::<Vec<_>>(), [job]);
    let table = run(stack.ctl()?.args(["jobs", "list", "--state", "available", "--kind", KIND]))?;
    assert!(table.contains("a film") && table.contains(&id), "{table}");
    let change: JobChange =
        serde_json::from_str(&run(stack.ctl()?.args(["--json", "jobs", "cancel", &id]))?)?;
    assert_eq!((change.job_id, change.state.as_str()), (job, "cancelled"));
    assert!(run(stack.ctl()?.args(["jobs", "retry", &id]))?.contains("waits for a worker"));
    let attempt = claim(&client).await?.1;
    client.execute("SELECT nebula.fail_job($1, $2, 'no such film', false)", &[&job, &attempt]).await?;
    let page = run(stack.ctl()?.args(["jobs", "show", "--watch", &id]))?;
    assert!(page.contains("no such film") && page.contains("dead"), "{page}");
    let refused = stack.ctl()?.args(["jobs", "cancel", &id]).output()?;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr)?;
    assert!(said.contains("dead") && said.contains("hint:"), "{said}");
    Ok(())
}
