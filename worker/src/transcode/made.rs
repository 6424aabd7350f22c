//! Small files that a media process has made: stored, and recorded together.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio_postgres::Transaction;

use super::digest::digest;
use super::rendition::Rendition;
use super::store;
use super::workplace::{Bench, Upload, Workplace};
use crate::queue::{Context, Failure, Job, Record};

/// A file that the media process wrote.
pub(super) struct Made {
    pub(super) kind: String,
    pub(super) file: String,
    pub(super) content_type: &'static str,
    pub(super) detail: Value,
}

/// Files in the store.
#[derive(Default)]
pub(super) struct Stored(Vec<Rendition>);

/// Stores the files; all or none.
pub(super) async fn store_all(
    workplace: &Workplace,
    upload: &Upload,
    bench: &Bench,
    job: &Job,
    files: Vec<Made>,
    context: &Context,
) -> Result<Stored, Failure> {
    let mut stored = Stored::default();
    for made in files {
        match store_one(workplace, upload, bench, job, made, context).await {
            Ok(rendition) => stored.0.push(rendition),
            Err(failure) => {
                Box::new(stored).discard().await;
                return Err(failure);
            }
        }
    }
    Ok(stored)
}

async fn store_one(
    workplace: &Workplace,
    upload: &Upload,
    bench: &Bench,
    job: &Job,
    made: Made,
    context: &Context,
) -> Result<Rendition, Failure> {
    let path = bench.outputs().join(&made.file);
    let digest = digest(path.clone()).await?;
    workplace.room.check_store(digest.size.unsigned_abs()).await?;
    let extension = if made.content_type == "image/jpeg" { "jpg" } else { "vtt" };
    let key =
        format!("files/{}/pictures/{}-{}-{}.{extension}", upload.content_id, made.kind, job.id, job.attempt);
    store::put(&workplace.store, &key, &path, context).await?;
    let store = workplace.store.clone();
    Ok(Rendition {
        store,
        content_id: upload.content_id,
        kind: made.kind,
        key,
        digest,
        content_type: made.content_type,
        detail: made.detail,
    })
}

impl Record for Stored {
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        async move {
            for rendition in &self.0 {
                rendition.write(job, transaction).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            for rendition in self.0 {
                Box::new(rendition).discard().await;
            }
        }
        .boxed()
    }
}
