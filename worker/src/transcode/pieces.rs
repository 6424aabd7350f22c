//! Pieces that a media process has made: checked, stored, recorded.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use nebula_storage::Store;
use serde_json::{Value, json};
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::store;
use super::workplace::Workplace;
use crate::media::Piece;
use crate::queue::{Context, Failure, Job, Record};

/// Pieces in the store, to be recorded.
pub(super) struct StoredPieces {
    store: Store,
    content_id: Uuid,
    keys: Vec<String>,
    chunks: Value,
}

/// Stores pieces of these variants; the files are in `folder`. A media process parses untrusted bytes, so its words
/// are checked.
pub(super) async fn store_all(
    workplace: &Workplace,
    content_id: Uuid,
    job: &Job,
    folder: &Path,
    pieces: Vec<Piece>,
    variants: &[&str],
    context: &Context,
) -> Result<StoredPieces, Failure> {
    let store = workplace.store.clone();
    let mut stored = StoredPieces { store, content_id, keys: Vec::new(), chunks: json!([]) };
    let mut chunks = Vec::new();
    for piece in pieces {
        let expected = format!("{}-{}.m4s", piece.variant, piece.n);
        if piece.file != expected || !variants.contains(&piece.variant.as_str()) {
            return Err(Failure::transient("the media process made a piece that was not asked for"));
        }
        let key =
            format!("files/{content_id}/hls/{}-{}-{}-{}.m4s", piece.variant, piece.n, job.id, job.attempt);
        workplace.room.check_store(piece.size).await?;
        if let Err(failure) = store::put(&workplace.store, &key, &folder.join(&piece.file), context).await {
            Box::new(stored).discard().await;
            return Err(failure);
        }
        chunks.push(described(&piece, &key)?);
        stored.keys.push(key);
    }
    stored.chunks = Value::Array(chunks);
    Ok(stored)
}

/// A piece as the database takes it.
fn described(piece: &Piece, key: &str) -> Result<Value, Failure> {
    let init = hex::decode(&piece.init)
        .map_err(|_| Failure::transient("the media process sent a malformed piece"))?;
    Ok(json!({
        "variant": piece.variant, "n": piece.n, "storageKey": key, "size": piece.size, "sha256": piece.sha256,
        "startsAt": piece.starts_at, "durations": piece.durations, "sizes": piece.sizes,
        "init": STANDARD.encode(init), "codecs": piece.codecs, "last": piece.last,
    }))
}

impl Record for StoredPieces {
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        async move {
            let sql = "SELECT nebula.add_chunks($1, $2, $3, $4)";
            let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
                (&job.id, Type::INT8),
                (&job.attempt, Type::INT4),
                (&self.content_id, Type::UUID),
                (&self.chunks, Type::JSONB),
            ];
            transaction.query_typed(sql, &parameters).await.map(drop)
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> BoxFuture<'static, ()> {
        async move {
            for key in &self.keys {
                if let Err(error) = self.store.delete(key).await {
                    tracing::warn!("an orphan is left in the store: {error}");
                }
            }
        }
        .boxed()
    }
}
