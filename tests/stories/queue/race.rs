//! Many sessions on one queue use every function on jobs at once: every job ends exactly once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::{EVENT_TIMEOUT, rounds};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

const SESSIONS: usize = 32;
const KINDS: &str = "ARRAY['race.a', 'race.b']";
/// Not all jobs succeed: some wait for others, die or are cancelled. A job that succeeds adds a row here in
/// the same commit.
const LEDGER: &str = "CREATE TABLE public.ledger (job_id bigint NOT NULL)";

/// The answers that all sessions together got.
#[derive(Default)]
struct Told {
    jobs: Vec<i64>,
    attempts: HashSet<(i64, i32)>,
    ends: HashMap<i64, String>,
}

impl Told {
    fn ended(&mut self, job: i64, state: &str) -> Result<()> {
        match self.ends.insert(job, state.to_owned()) {
            Some(before) => bail!("job {job} ended twice, as {before} and as {state}"),
            None => Ok(()),
        }
    }
}

/// A claimed job; a short lease may be lost at any moment.
#[derive(Clone, Copy)]
struct Held {
    job: i64,
    attempt: i32,
    short: bool,
}

struct Session {
    client: Client,
    told: Arc<Mutex<Told>>,
    held: Vec<Held>,
}

impl Session {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    /// A random enqueued job, if there is one yet.
    fn any_job(&self) -> Option<i64> {
        let told = self.told();
        let place = rand::random_range(0..told.jobs.len().max(1));
        told.jobs.get(place).copied()
    }

    async fn step(&mut self) -> Result<()> {
        match rand::random_range(0..13) {
            0 | 1 => self.enqueue().await,
            2 => self.enqueue_many().await,
            3..6 => self.claim().await,
            6 | 7 => self.complete(None).await,
            8 => self.complete(Some("race.b")).await,
            9 => self.fail().await,
            10 => self.cancel().await,
            11 => self.complete_many().await,
            _ => self.heartbeat().await,
        }
    }

    async fn enqueue(&self) -> Result<()> {
        let parent = self.any_job().filter(|_| rand::random_bool(0.5));
        let (kind, keep) = (["race.a", "race.b"][rand::random_range(0..2)], rand::random_bool(0.8));
        self.client.batch_execute("BEGIN").await?;
        let sql = "SELECT nebula.enqueue_job($1, '{}', $2, max_attempts => 2, depends_on => $3)";
        let priority = rand::random_range(0..3);
        let parents = Vec::from_iter(parent);
        match self.client.query_one(sql, &[&kind, &priority, &parents]).await {
            Ok(row) if keep => {
                self.client.batch_execute("COMMIT").await?;
                self.told().jobs.push(row.get(0));
            }
            Ok(_) => self.client.batch_execute("ROLLBACK").await?,
            // The parent is dead or cancelled meanwhile.
            Err(error) if lost(&error) && parent.is_some() => self.client.batch_execute("ROLLBACK").await?,
            Err(error) => return Err(error).context("enqueue"),
        }
        Ok(())
    }

    async fn enqueue_many(&self) -> Result<()> {
        let sql = "SELECT nebula.enqueue_jobs('race.a', ARRAY['{}', '1', '[]']::jsonb[])";
        let rows = self.client.query(sql, &[]).await.context("enqueue_jobs")?;
        ensure!(rows.len() == 3, "three jobs, not {}", rows.len());
        self.told().jobs.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
        Ok(())
    }

    async fn claim(&mut self) -> Result<()> {
        let (max, short) = (rand::random_range(1..5), rand::random_bool(0.2));
        let lease = if short { "5 ms" } else { "1 h" };
        let sql = format!("SELECT job_id, attempt FROM nebula.claim_jobs('race', {KINDS}, $1, '{lease}')");
        self.client.batch_execute("BEGIN").await?;
        let rows = self.client.query(&sql, &[&max]).await.context("claim")?;
        if rand::random_bool(0.1) {
            return Ok(self.client.batch_execute("ROLLBACK").await?);
        }
        self.client.batch_execute("COMMIT").await?;
        for row in rows {
            self.hold(row.get(0), row.get(1), short)?;
        }
        Ok(())
    }

    fn hold(&mut self, job: i64, attempt: i32, short: bool) -> Result<()> {
        ensure!(
            self.told().attempts.insert((job, attempt)),
            "attempt {attempt} of job {job} was claimed twice"
        );
        self.held.push(Held { job, attempt, short });
        Ok(())
    }

    /// Removes one of the claimed jobs from the list.
    fn pick(&mut self) -> Option<Held> {
        let place = rand::random_range(0..self.held.len().max(1));
        (place < self.held.len()).then(|| self.held.swap_remove(place))
    }

    /// Finishes a job together with a line in the ledger, and claims the next one of `then` in the same
    /// commit.
    async fn complete(&mut self, then: Option<&str>) -> Result<()> {
        let Some(held) = self.pick() else { return Ok(()) };
        let Held { job, attempt, short } = held;
        self.client.batch_execute("BEGIN").await?;
        let finish = match then {
            None => {
                let sql = "SELECT nebula.complete_job($1, $2)";
                self.client.query(sql, &[&job, &attempt]).await.map(|_| Vec::new())
            }
            Some(kind) => {
                let sql = "SELECT job_id, attempt
                            FROM nebula.finish_and_claim($1, $2, 'true', 'race', ARRAY[$3], 2, '1 h')";
                self.client.query(sql, &[&job, &attempt, &kind]).await
            }
        };
        match finish {
            Ok(rows) => {
                self.client.execute("INSERT INTO public.ledger VALUES ($1)", &[&job]).await?;
                self.client.batch_execute("COMMIT").await?;
                self.told().ended(job, "succeeded")?;
                rows.iter().try_for_each(|row| self.hold(row.get(0), row.get(1), false))
            }
            Err(error) if lost(&error) && short => Ok(self.client.batch_execute("ROLLBACK").await?),
            Err(error) => Err(error).with_context(|| format!("completing attempt {attempt} of job {job}")),
        }
    }

    /// Completes several jobs at once; the answer leaves out those whose lease was lost.
    async fn complete_many(&mut self) -> Result<()> {
        let many = self.held.split_off(self.held.len().saturating_sub(3));
        let (jobs, attempts): (Vec<i64>, Vec<i32>) = many.iter().map(|held| (held.job, held.attempt)).unzip();
        let sql = "WITH done AS MATERIALIZED (SELECT nebula.complete_jobs($1, $2) AS job)
                   INSERT INTO public.ledger SELECT job FROM done RETURNING job_id";
        let rows = self.client.query(sql, &[&jobs, &attempts]).await.context("complete_jobs")?;
        let done: HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        for &Held { job, attempt, short } in &many {
            // A lost job may have been claimed again by the same session; then the newer attempt was
            // completed, not the older.
            let newest = many.iter().all(|held| held.job != job || held.attempt <= attempt);
            if newest && done.contains(&job) {
                self.told().ended(job, "succeeded")?;
            } else {
                ensure!(short, "attempt {attempt} of job {job} is lost");
            }
        }
        Ok(())
    }

    async fn fail(&mut self) -> Result<()> {
        let Some(Held { job, attempt, short }) = self.pick() else { return Ok(()) };
        let sql = "SELECT nebula.fail_job($1, $2, 'story', $3)";
        match self.client.query_one(sql, &[&job, &attempt, &rand::random_bool(0.7)]).await {
            Ok(row) => match row.get::<_, &str>(0) {
                "available" => Ok(()),
                state => self.told().ended(job, state),
            },
            Err(error) if lost(&error) && short => Ok(()),
            Err(error) => Err(error).with_context(|| format!("failing attempt {attempt} of job {job}")),
        }
    }

    async fn cancel(&self) -> Result<()> {
        let Some(job) = self.any_job().filter(|_| rand::random_bool(0.5)) else { return Ok(()) };
        match self.client.query_one("SELECT nebula.cancel_job($1)", &[&job]).await {
            Ok(row) if row.get::<_, &str>(0) == "cancelled" => self.told().ended(job, "cancelled"),
            Ok(_) => Ok(()),
            Err(error) if lost(&error) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cancelling job {job}")),
        }
    }

    async fn heartbeat(&mut self) -> Result<()> {
        let Some(held) = self.pick() else { return Ok(()) };
        let sql = "SELECT nebula.heartbeat_job($1, $2, 0.5)";
        match self.client.query_one(sql, &[&held.job, &held.attempt]).await {
            Ok(_) => self.held.push(held),
            Err(error) if lost(&error) && held.short => {}
            Err(error) => return Err(error).with_context(|| format!("heartbeat of job {}", held.job)),
        }
        Ok(())
    }
}

/// Whether the error says that the call came too late.
fn lost(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE)
}

async fn every_job_ends_once(database: &Database) -> Result<()> {
    let admin = database.connect().await?;
    admin.batch_execute(LEDGER).await?;
    let told = Arc::new(Mutex::new(Told::default()));
    let sessions = (0..SESSIONS).map(|_| {
        let (database, told) = (database.clone(), told.clone());
        tokio::spawn(async move {
            let mut session = Session { client: database.connect().await?, told, held: Vec::new() };
            for _ in 0..rounds(60, 1000) {
                session.step().await?;
            }
            while !session.held.is_empty() {
                session.complete(None).await?;
            }
            anyhow::Ok(session)
        })
    });
    let mut last = try_join_all(sessions).await?.into_iter().collect::<Result<Vec<_>>>()?.swap_remove(0);
    // Retries wait for their backoff and children for their parents; no other session claims any more.
    let left = "SELECT count(*) FROM nebula.job_status WHERE state IN ('blocked', 'available', 'running')";
    let begun = Instant::now();
    while admin.query_one(left, &[]).await?.get::<_, i64>(0) > 0 {
        ensure!(begun.elapsed() < EVENT_TIMEOUT, "jobs are stuck");
        let sql = format!("SELECT job_id, attempt FROM nebula.claim_jobs('last', {KINDS}, 100, '1 h')");
        for row in last.client.query(&sql, &[]).await? {
            last.hold(row.get(0), row.get(1), false)?;
        }
        while !last.held.is_empty() {
            last.complete(None).await?;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let leftovers = "SELECT (SELECT count(*) FROM nebula.job_dependency d
                  WHERE NOT EXISTS (SELECT FROM nebula.job_finished f WHERE f.job_id = d.child_id
                   AND f.state = 'cancelled'))
              + (SELECT count(*) FROM nebula.job_key)";
    let leftovers: i64 = admin.query_one(leftovers, &[]).await?.get(0);
    ensure!(leftovers == 0, "{leftovers} rows of finished jobs are left");
    let done = admin.query("SELECT job_id FROM public.ledger", &[]).await?;
    let finished = admin.query("SELECT job_id, state FROM nebula.job_status", &[]).await?;
    let told = told.lock().unwrap();
    ensure!(finished.len() == told.jobs.len(), "{} jobs of {} ended", finished.len(), told.jobs.len());
    let ends: HashMap<i64, String> = finished.iter().map(|row| (row.get(0), row.get(1))).collect();
    for job in &told.jobs {
        let end = ends.get(job).with_context(|| format!("job {job} is lost"))?;
        let said = told.ends.get(job);
        ensure!(said.is_none_or(|said| said == end), "job {job} is {end}, a session was told {said:?}");
    }
    let succeeded = ends.values().filter(|state| *state == "succeeded").count();
    let distinct: HashSet<i64> = done.iter().map(|row| row.get(0)).collect();
    ensure!(
        done.len() == succeeded && distinct.len() == succeeded,
        "{} in the ledger, {succeeded} succeeded",
        done.len()
    );
    ensure!(succeeded > 50 && succeeded < ends.len(), "{succeeded} of {} succeeded: no race", ends.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_job_ends_exactly_once() -> Result<()> {
    for cluster in Cluster::both().await? {
        every_job_ends_once(&cluster.database().await?).await?;
    }
    Ok(())
}
