//! Findings of a scrub, on their way to the database.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::json;
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};

use crate::queue::{Context, Failure, Job, Record};

/// A difference between storage and database.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Fault {
    pub(super) key: String,
    /// `missing`, `changed` or `untracked`.
    pub(super) fault: &'static str,
    pub(super) size: u64,
}

/// Why an object could not be read.
pub(super) enum Unreadable {
    /// The object is at fault.
    Fault(&'static str),
    /// The storage is.
    Store(Failure),
}

/// Faults, and objects whose bytes were found to be right.
#[derive(Default)]
pub(super) struct Found {
    pub(super) faults: Vec<Fault>,
    pub(super) sound: Vec<String>,
}

impl Found {
    /// Records what was found, and begins anew.
    pub(super) async fn record(&mut self, context: &Context) -> Result<(), Failure> {
        if self.faults.is_empty() && self.sound.is_empty() {
            return Ok(());
        }
        context.record(&std::mem::take(self)).await
    }
}

impl Record for Found {
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        async move {
            let faults = json!(self.faults);
            let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
                (&job.id, Type::INT8),
                (&job.attempt, Type::INT4),
                (&faults, Type::JSONB),
                (&self.sound, Type::TEXT_ARRAY),
            ];
            let sql = "SELECT nebula.record_faults($1, $2, $3, $4)";
            transaction.query_typed(sql, &parameters).await.map(drop)
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

/// The end of a scrub.
pub(super) struct Finish;

impl Record for Finish {
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        async move {
            let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                [(&job.id, Type::INT8), (&job.attempt, Type::INT4)];
            transaction.query_typed("SELECT nebula.finish_scrub($1, $2)", &parameters).await.map(drop)
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}
