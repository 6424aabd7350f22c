//! A file made from another file: already in the store, and recorded in the commit that finishes its job.

use futures::FutureExt;
use futures::future::BoxFuture;
use nebula_storage::Store;
use serde_json::{Value, json};
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::digest::Digest;
use crate::media::Summary;
use crate::queue::{Job, Record};

/// One stored object and its row in the database.
pub(super) struct Rendition {
    pub(super) store: Store,
    pub(super) content_id: Uuid,
    /// Unique per content.
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) digest: Digest,
    pub(super) content_type: &'static str,
    pub(super) detail: Value,
}

impl Rendition {
    /// The rendition that browsers play.
    pub(super) fn web(
        store: Store,
        content_id: Uuid,
        key: String,
        digest: Digest,
        summary: &Summary,
    ) -> Self {
        let content_type = if summary.video_codec.is_some() { "video/mp4" } else { "audio/mp4" };
        Self { store, content_id, kind: "web".to_owned(), key, digest, content_type, detail: json!(summary) }
    }
}

impl Record for Rendition {
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        async move {
            let sql = "SELECT nebula.add_rendition($1, $2, $3, $4, $5, $6, $7, $8, $9)";
            let sha256 = &self.digest.sha256[..];
            let parameters: [(&(dyn ToSql + Sync), Type); 9] = [
                (&job.id, Type::INT8),
                (&job.attempt, Type::INT4),
                (&self.content_id, Type::UUID),
                (&self.kind, Type::TEXT),
                (&self.key, Type::TEXT),
                (&self.digest.size, Type::INT8),
                (&sha256, Type::BYTEA),
                (&self.content_type, Type::TEXT),
                (&self.detail, Type::JSONB),
            ];
            transaction.query_typed(sql, &parameters).await.map(drop)
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            if let Err(error) = self.store.delete(&self.key).await {
                tracing::warn!("an orphan is left in the store: {error}");
            }
        }
        .boxed()
    }
}
