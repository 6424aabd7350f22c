//! Adaptive streaming: the variants of a film, their chunks and segments.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::file::Content;
use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VariantKind {
    Video,
    Audio,
    Subtitles,
}

/// A picture size, a sound or a subtitle that can be played.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) kind: VariantKind,
    /// As in RFC 6381; none for subtitles.
    pub(crate) codecs: Option<String>,
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) frame_rate: Option<f32>,
    /// ISO 639, as the upload names it.
    pub(crate) language: Option<String>,
    pub(crate) label: Option<String>,
    pub(crate) channels: Option<u32>,
    #[serde(default)]
    pub(crate) is_default: bool,
    #[serde(default)]
    pub(crate) is_forced: bool,
    /// Bits a second of the largest segment, and of all, as far as they are made.
    #[serde(default)]
    pub(crate) peak_bandwidth: u64,
    #[serde(default)]
    pub(crate) average_bandwidth: u64,
}

/// Chunks of a variant, from the start of the film without a gap.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Segments {
    /// Number of each chunk, and the seconds of its segments.
    pub(crate) chunks: Vec<(i32, Vec<f32>)>,
    /// There are no others.
    pub(crate) is_complete: bool,
}

/// Variants that can be played now; none while a film has no sound yet. Fails with 404.
pub(crate) async fn playable_variants(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
) -> Result<Vec<Variant>, ApiError> {
    let rows =
        query(client, "SELECT nebula.playable_variants(nebula.actor($1), $2)", &[&actor, &file_id]).await?;
    let read = |row| serde_json::from_value(row).map_err(|error| ApiError::internal(&error));
    map_rows(&rows, |row| row.try_get(0))?.into_iter().map(read).collect()
}

/// The segments of a variant that are made. Fails with 404.
pub(crate) async fn segments(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    variant: &str,
) -> Result<Segments, ApiError> {
    let sql = "SELECT n, durations, is_complete FROM nebula.variant_segments(nebula.actor($1), $2, $3)";
    let rows = query(client, sql, &[&actor, &file_id, &variant]).await?;
    let is_complete = rows.first().map(|row| row.try_get(2)).transpose()?.unwrap_or(false);
    let chunks = map_rows(&rows, |row| Ok((row.try_get(0)?, row.try_get(1)?)))?;
    Ok(Segments { chunks, is_complete })
}

/// The initialization segment of a variant. Fails with 404.
pub(crate) async fn init(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    variant: &str,
) -> Result<Vec<u8>, ApiError> {
    let sql = "SELECT nebula.variant_init(nebula.actor($1), $2, $3)";
    Ok(query_one(client, sql, &[&actor, &file_id, &variant]).await?.try_get(0)?)
}

/// Where a segment lies. Fails with 404.
pub(crate) async fn segment(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    variant: &str,
    (chunk, segment): (i32, i32),
) -> Result<Content, ApiError> {
    let sql = "SELECT * FROM nebula.find_segment(nebula.actor($1), $2, $3, $4, $5)";
    let row = query_one(client, sql, &[&actor, &file_id, &variant, &chunk, &segment]).await?;
    let storage_key: String = row.try_get("storage_key")?;
    let modified_at: DateTime<Utc> = row.try_get("made_at")?;
    Ok(Content {
        // Another attempt makes another object, so the key tells versions apart.
        etag: format!("{}-{segment}", storage_key.rsplit('/').next().unwrap_or_default()),
        storage_key,
        first_byte: row.try_get::<_, i64>("first_byte")?.unsigned_abs(),
        size: row.try_get::<_, i32>("size")?.unsigned_abs().into(),
        content_type: "video/iso.segment".to_owned(),
        name: format!("{variant}-{chunk}-{segment}.m4s"),
        modified_at,
    })
}

/// Seconds of a film; 0 if they are not known. Fails with 404.
pub(crate) async fn duration(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
) -> Result<f64, ApiError> {
    let row =
        query_one(client, "SELECT nebula.file_duration(nebula.actor($1), $2)", &[&actor, &file_id]).await?;
    Ok(row.try_get::<_, Option<f64>>(0)?.unwrap_or(0.0))
}

/// Moves the chunks from a second of a film on to the front of the queue; answers how many were waiting. Fails
/// with 404.
pub(crate) async fn make_from(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    seconds: f64,
) -> Result<i32, ApiError> {
    let sql = "SELECT nebula.make_from(nebula.actor($1), $2, $3)";
    Ok(query_one(client, sql, &[&actor, &file_id, &seconds]).await?.try_get(0)?)
}
