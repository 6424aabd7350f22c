//! Something derived from a file: in the store already, and recorded in the commit that finishes its job.

use futures::FutureExt;
use futures::future::BoxFuture;
use nebula_storage::Store;
use serde_json::Value;
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use crate::queue::{Job, Record};

/// One object and what is to be known of it.
pub struct Rendition {
    /// Where it is.
    pub store: Store,
    /// The file it was made from.
    pub file_id: Uuid,
    /// What it is, such as `web`; one of each kind per file.
    pub kind: &'static str,
    /// Its key in the store.
    pub key: String,
    /// Bytes.
    pub size: i64,
    /// Hash of the bytes.
    pub sha256: [u8; 32],
    /// Media type.
    pub content_type: &'static str,
    /// How it was made.
    pub detail: Value,
}

impl Record for Rendition {
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        async move {
            let sql = "SELECT nebula.add_rendition($1, $2, $3, $4, $5, $6, $7, $8, $9)";
            let sha256 = &self.sha256[..];
            let values: [(&(dyn ToSql + Sync), Type); 9] = [
                (&job.id, Type::INT8),
                (&job.attempt, Type::INT4),
                (&self.file_id, Type::UUID),
                (&self.kind, Type::TEXT),
                (&self.key, Type::TEXT),
                (&self.size, Type::INT8),
                (&sha256, Type::BYTEA),
                (&self.content_type, Type::TEXT),
                (&self.detail, Type::JSONB),
            ];
            transaction.query_typed(sql, &values).await.map(drop)
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
