//! `ledger-worker NAME DATABASE_URL`: a worker on the queue library whose work is a line in the table
//! `ledger`.
//!
//! It represents any worker built with the library; the stories kill it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use nebula_connect::Server;
use nebula_worker::queue::{Context, Failure, Handler, Job, Outcome, Record, Registry, Runner};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use tokio_util::sync::CancellationToken;

/// Sleeps for as many milliseconds as the payload says.
struct Ledger {
    worker: String,
}

impl Handler for Ledger {
    fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>> {
        async move {
            let work = Duration::from_millis(job.payload["ms"].as_u64().unwrap_or(0));
            tokio::select! {
                () = tokio::time::sleep(work) => {
                    let line = Line { worker: self.worker.clone() };
                    Ok(Outcome { result: json!(job.attempt), record: Some(Box::new(line)) })
                }
                reason = context.stopped() => {
                    Err(Failure::transient(format!("stopped: {reason:?}")))
                }
            }
        }
        .boxed()
    }
}

/// The ledger's row for a job, written in the commit that completes the job.
struct Line {
    worker: String,
}

impl Record for Line {
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        let sql = "INSERT INTO public.ledger (job_id, attempt, worker) VALUES ($1, $2, $3)";
        // Without a prepared statement, so that it works through a pooler.
        async move {
            let values: [(&(dyn ToSql + Sync), Type); 3] =
                [(&job.id, Type::INT8), (&job.attempt, Type::INT4), (&self.worker, Type::TEXT)];
            transaction.query_typed(sql, &values).await.map(drop)
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(worker), Some(url)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: ledger-worker NAME DATABASE_URL");
        return ExitCode::FAILURE;
    };
    let (Ok(database), Ok(mut terminate)) = (Server::parse(&url), signal(SignalKind::terminate())) else {
        eprintln!("ledger-worker: the database URL cannot be read, or signals cannot be waited for");
        return ExitCode::FAILURE;
    };
    let shutdown = CancellationToken::new();
    let stopping = shutdown.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        stopping.cancel();
    });
    let runner = Runner {
        name: worker.clone(),
        slots: 4,
        lease: Duration::from_secs(2),
        poll: Duration::from_secs(1),
        grace: Duration::from_millis(20),
        node: None,
        capabilities: Vec::new(),
        health_file: None,
        listener: database.clone(),
        database,
        registry: Registry::default().with("ledger", Arc::new(Ledger { worker })),
        beside: Vec::new(),
        pause: tokio::sync::watch::channel(None).1,
    };
    runner.run(shutdown).await;
    ExitCode::SUCCESS
}
