//! `scrub`: compares the storage with the database. Finds objects that are missing, that no row owns, and whose bytes
//! have changed. Deletes nothing but parts of uploads to a bucket that were never finished.

mod content;
mod listing;
mod record;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use nebula_storage::Store;
use serde::Deserialize;
use serde_json::json;

use crate::queue::{Context, Failure, Handler, Job, Outcome, Registry};
use record::Finish;

/// Does the jobs of this kind.
pub(crate) struct Scrub {
    store: Store,
    /// Bytes a second that are read for comparison.
    rate: u64,
    /// Age at which the bytes of an object are compared again.
    days: u32,
}

/// Settings of one job.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payload {
    /// Age at which bytes are compared again, in days.
    #[serde(default)]
    days: Option<u32>,
    /// Seconds after which no further object is read; the next scrub goes on.
    #[serde(default = "read_seconds")]
    read_seconds: u64,
    /// Age of an object that no row owns, in seconds; its row is normally made within a few.
    #[serde(default = "grace_seconds")]
    grace_seconds: u64,
    /// Age from which on an upload in parts that is not finished is aborted, in seconds.
    #[serde(default = "upload_seconds")]
    upload_seconds: u64,
}

fn read_seconds() -> u64 {
    600
}

fn upload_seconds() -> u64 {
    24 * 3600
}

fn grace_seconds() -> u64 {
    600
}

/// The handler of scrubs.
pub(crate) fn registry(store: Store, rate: u64, days: u32) -> Registry {
    Registry::default().with("scrub", Arc::new(Scrub { store, rate, days }))
}

impl Handler for Scrub {
    fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>> {
        Box::pin(async move {
            tokio::select! {
                done = self.work(&job, &context) => done,
                reason = context.stopped() => Err(Failure::transient(format!("stopped: {reason:?}"))),
            }
        })
    }
}

impl Scrub {
    async fn work(&self, job: &Job, context: &Context) -> Result<Outcome, Failure> {
        let payload = Payload::deserialize(&job.payload)
            .map_err(|error| Failure::permanent(format!("the payload cannot be read: {error}")))?;
        let aborted = self.store.abort_uploads(Duration::from_secs(payload.upload_seconds)).await?;
        context.report(0.0, json!({"stage": "list"}));
        let grace = Duration::from_secs(payload.grace_seconds);
        let listed = listing::find_untracked(&self.store, grace, context).await?;
        context.report(0.1, json!({"stage": "look for missing"}));
        let expected = listing::find_missing(&self.store, job, context).await?;
        context.report(0.2, json!({"stage": "compare"}));
        let days = payload.days.unwrap_or(self.days);
        let limits =
            content::Limits { rate: self.rate, days, time: Duration::from_secs(payload.read_seconds) };
        let compared = content::compare(&self.store, limits, job, context).await?;
        let result = json!({
            "abortedUploads": aborted,
            "listed": listed,
            "expected": expected,
            "compared": compared.objects,
            "comparedBytes": compared.bytes,
        });
        Ok(Outcome { result, record: Some(Box::new(Finish)) })
    }
}

impl From<nebula_storage::StoreError> for record::Unreadable {
    fn from(error: nebula_storage::StoreError) -> Self {
        use nebula_storage::StoreError;
        match error {
            StoreError::NotFound(_) => Self::Fault("missing"),
            StoreError::Truncated { .. } => Self::Fault("changed"),
            // A sector that the disk cannot read is a fault of the object; other objects can be read.
            ref error @ StoreError::Io { .. } if !error.is_outage() => Self::Fault("changed"),
            error => Self::Store(error.into()),
        }
    }
}
