//! Pauses, limits and schedules with many concurrent sessions, which a test in one transaction cannot cover.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::eventually;
use tokio_postgres::Client;
use uuid::Uuid;

use super::wakeup::SleepingWorker;
use super::{claim, cluster_with_worker, enqueue};

const SESSIONS: usize = 12;
const KIND: &str = "policy";

async fn call(client: &Client, sql: &str) -> Result<()> {
    client.batch_execute(&format!("SELECT nebula.{sql}")).await.with_context(|| sql.to_owned())
}

#[tokio::test]
async fn a_pause_applies_to_every_session_from_its_commit_on() -> Result<()> {
    for cluster in Cluster::both().await? {
        let database = cluster.database().await?;
        let (admin, worker) = (database.connect().await?, database.connect().await?);
        for _ in 0..4 {
            enqueue(&worker, KIND).await?;
        }
        admin.batch_execute("BEGIN").await?;
        call(&admin, &format!("pause_jobs('{KIND}')")).await?;
        let running = claim(&worker, KIND, 1).await?;
        ensure!(running.len() == 1, "not paused yet");
        admin.batch_execute("COMMIT").await?;
        ensure!(claim(&worker, KIND, 9).await?.is_empty(), "paused");
        let (job, attempt) = running[0];
        let next =
            format!("SELECT job_id FROM nebula.finish_and_claim({job}, {attempt}, NULL, 'w', '{{{KIND}}}')");
        ensure!(worker.query(&next, &[]).await?.is_empty(), "the end of a job begins no other");
        admin.batch_execute("BEGIN").await?;
        call(&admin, &format!("resume_jobs('{KIND}')")).await?;
        ensure!(claim(&worker, KIND, 9).await?.is_empty(), "not resumed yet");
        admin.batch_execute("COMMIT").await?;
        ensure!(claim(&worker, KIND, 9).await?.len() == 3, "resumed");
    }
    Ok(())
}

/// The number of running jobs of each project as the sessions count them, and its maximum.
#[derive(Default)]
struct Running {
    now: HashMap<Uuid, usize>,
    most: usize,
    most_of_one: usize,
}

impl Running {
    fn begin(&mut self, project: Uuid) {
        *self.now.entry(project).or_default() += 1;
        self.most = self.most.max(self.now.values().sum());
        self.most_of_one = self.most_of_one.max(self.now.values().copied().max().unwrap_or(0));
    }

    fn end(&mut self, project: Uuid) {
        if let Some(count) = self.now.get_mut(&project) {
            *count -= 1;
        }
    }
}

async fn work(database: Database, running: Arc<Mutex<Running>>, jobs: usize) -> Result<()> {
    let client = database.connect().await?;
    let sql = "SELECT job_id, attempt, (payload ->> 'project')::uuid
                 FROM nebula.claim_jobs('w', ARRAY[$1, $1 || '.other'], 2, '1 h')";
    let done = "SELECT count(*) FROM nebula.job_finished";
    while client.query_one(done, &[]).await?.get::<_, i64>(0) < jobs as i64 {
        let claimed = client.query(sql, &[&KIND]).await?;
        for row in &claimed {
            running.lock().unwrap().begin(row.get(2));
        }
        tokio::task::yield_now().await;
        for row in &claimed {
            // Counted before the commit, because that makes room for another.
            running.lock().unwrap().end(row.get(2));
            let (job, attempt): (i64, i32) = (row.get(0), row.get(1));
            client.query("SELECT nebula.complete_job($1, $2)", &[&job, &attempt]).await?;
        }
    }
    Ok(())
}

/// Enqueues jobs of two kinds for several projects and runs them in many sessions; answers the maxima.
async fn run_many(database: &Database, projects: &[Uuid]) -> Result<Running> {
    let (admin, jobs) = (database.connect().await?, 120);
    for number in 0..jobs {
        let project = projects[number % projects.len()];
        let kind = if number % 8 < 4 { KIND.to_owned() } else { format!("{KIND}.other") };
        let sql = "SELECT nebula.enqueue_job($1, jsonb_build_object('project', $2::uuid), project_id => $2)";
        admin.query(sql, &[&kind, &project]).await?;
    }
    let running = Arc::new(Mutex::new(Running::default()));
    let sessions = (0..SESSIONS).map(|_| tokio::spawn(work(database.clone(), Arc::clone(&running), jobs)));
    try_join_all(sessions).await?.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(std::mem::take(&mut running.lock().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn running_jobs_of_a_kind_never_exceed_its_limits() -> Result<()> {
    for cluster in Cluster::both().await? {
        let database = cluster.database().await?;
        let admin = database.connect().await?;
        for kind in [KIND, "policy.other"] {
            call(&admin, &format!("limit_jobs('{kind}', 5, 2)")).await?;
        }
        let projects: Vec<Uuid> = (0..4).map(|_| Uuid::new_v4()).collect();
        let seen = run_many(&database, &projects).await?;
        ensure!(seen.most <= 10, "{} ran at once", seen.most);
        ensure!(seen.most_of_one <= 4, "{} of one project ran at once", seen.most_of_one);
        ensure!(seen.most >= 3, "at most {} ran at once: no race", seen.most);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn running_jobs_of_a_project_never_exceed_its_limit() -> Result<()> {
    for cluster in Cluster::both().await? {
        let database = cluster.database().await?;
        let admin = database.connect().await?;
        let mut projects = Vec::new();
        for name in ["one", "two", "three", "four"] {
            let project: Uuid = admin.query_one("SELECT nebula.create_project($1)", &[&name]).await?.get(0);
            call(&admin, &format!("limit_project_jobs('{project}', 2)")).await?;
            projects.push(project);
        }
        let seen = run_many(&database, &projects).await?;
        ensure!(seen.most_of_one <= 2, "{} of one project ran at once", seen.most_of_one);
        ensure!(seen.most >= 3, "at most {} ran at once: no race", seen.most);
    }
    Ok(())
}

/// Running jobs are counted with a current snapshot, also where the claim's own snapshot is older.
#[tokio::test]
async fn limits_count_jobs_that_an_old_snapshot_does_not_show() -> Result<()> {
    for cluster in Cluster::both().await? {
        let database = cluster.database().await?;
        let (admin, late) = (database.connect().await?, database.connect().await?);
        let project: Uuid = admin.query_one("SELECT nebula.create_project('one')", &[]).await?.get(0);
        let of_project = format!("project_id => '{project}'");
        let limits = [
            "limit_jobs('{kind}', 1)",
            "limit_jobs('{kind}', NULL, 1)",
            "limit_project_jobs('{project}', 1)",
        ];
        for (number, limit) in limits.iter().enumerate() {
            let kind = format!("{KIND}.{number}");
            call(&admin, &limit.replace("{kind}", &kind).replace("{project}", &project.to_string())).await?;
            // Only one of the two sessions can claim the first job, so that they do not contend for a row.
            call(&admin, &format!("enqueue_job('{kind}', '{{}}', capability => 'gpu', {of_project})"))
                .await?;
            call(&admin, &format!("enqueue_job('{kind}', '{{}}', {of_project})")).await?;
            let able = format!(
                "SELECT job_id, attempt FROM nebula.claim_jobs('w', '{{{kind}}}', capabilities => '{{gpu}}')"
            );
            for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
                late.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}; SELECT 1")).await?;
                let first = admin.query_one(&able, &[]).await?;
                let (job, attempt): (i64, i32) = (first.get(0), first.get(1));
                let got = claim(&late, &kind, 1).await;
                late.batch_execute("ROLLBACK").await?;
                ensure!(got?.is_empty(), "{limit}, {isolation}: more than one ran");
                call(&admin, &format!("hand_back_job({job}, {attempt})")).await?;
            }
        }
    }
    Ok(())
}

/// A sleeping worker is notified of room that the end of a job of another kind makes.
#[tokio::test]
async fn completing_a_job_wakes_workers_blocked_by_the_project_limit() -> Result<()> {
    for preload in [true, false] {
        let (_cluster, database) = cluster_with_worker(preload, &[]).await?;
        let admin = database.connect().await?;
        let project: Uuid = admin.query_one("SELECT nebula.create_project('one')", &[]).await?.get(0);
        call(&admin, &format!("limit_project_jobs('{project}', 1)")).await?;
        for kind in [KIND, "policy.other"] {
            call(&admin, &format!("enqueue_job('{kind}', '{{}}', project_id => '{project}')")).await?;
        }
        let running = claim(&admin, KIND, 1).await?;
        let mut sleeper = SleepingWorker::asleep(&database, "policy.other").await?;
        let (job, attempt) = *running.first().context("the first may run")?;
        call(&admin, &format!("complete_job({job}, {attempt})")).await?;
        sleeper.hears("").await?;
        ensure!(claim(&admin, "policy.other", 1).await?.len() == 1, "there is room");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_schedule_enqueues_one_job_per_tick_for_any_number_of_sessions() -> Result<()> {
    for preload in [true, false] {
        let (_cluster, database) = cluster_with_worker(preload, &[]).await?;
        let admin = database.connect().await?;
        call(&admin, &format!("schedule_job('often', '* * * * *', '{KIND}')")).await?;
        for tick in 1..=3_i64 {
            admin.batch_execute("UPDATE nebula.job_schedule SET next_at = now() - interval '1 s'").await?;
            let looks = (0..SESSIONS).map(|_| {
                let database = database.clone();
                tokio::spawn(async move {
                    let client = database.connect().await?;
                    call(&client, "run_schedules()").await
                })
            });
            try_join_all(looks).await?.into_iter().collect::<Result<Vec<()>>>()?;
            let count: i64 = admin.query_one("SELECT count(*) FROM nebula.job_status", &[]).await?.get(0);
            ensure!(count == tick, "{count} jobs after {tick} ticks (preload {preload})");
        }
        // The background process enqueues the scheduled job; without one, the next claim does.
        admin.batch_execute("UPDATE nebula.job_schedule SET next_at = now() - interval '1 s'").await?;
        eventually("the tick to be noticed", || async {
            if !preload {
                claim(&admin, "other", 1).await?;
            }
            let count: i64 = admin.query_one("SELECT count(*) FROM nebula.job_status", &[]).await?.get(0);
            ensure!(count <= 4, "{count} jobs after 4 ticks");
            Ok((count == 4).then_some(()))
        })
        .await?;
    }
    Ok(())
}
