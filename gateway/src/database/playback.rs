//! Sources that a file can be played from, and the record of how it was.

use serde::Deserialize;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, query, query_one};
use crate::error::ApiError;

/// Everything that a file can be played from.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Source {
    /// Film or sound.
    pub(crate) is_media: bool,
    pub(crate) content_type: String,
    /// The upload as its worker found it; none before that.
    pub(crate) original: Option<Original>,
    /// The MP4 for browsers, once it is made.
    pub(crate) web: Option<Web>,
    /// Its streams can be played.
    pub(crate) is_streamed: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Original {
    /// Name of the demuxer, such as `matroska,webm`.
    pub(crate) container: String,
    pub(crate) video: Option<OriginalVideo>,
    /// The one that plays unless another is chosen comes first.
    pub(crate) audio: Vec<OriginalAudio>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OriginalVideo {
    pub(crate) codec: String,
    pub(crate) profile: Option<String>,
    /// As the codec counts.
    pub(crate) level: Option<i32>,
    pub(crate) bit_depth: u32,
    pub(crate) is_420: bool,
    pub(crate) height: u32,
    pub(crate) is_interlaced: bool,
    pub(crate) is_hdr: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OriginalAudio {
    pub(crate) codec: String,
    pub(crate) channels: u32,
}

/// The MP4 for browsers.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Web {
    /// `remux`, `audio` or `transcode`.
    #[serde(default)]
    pub(crate) decision: String,
    /// Pixels; none without a picture.
    #[serde(default)]
    pub(crate) height: Option<u32>,
}

/// A decision that was made.
pub(crate) struct Record<'a> {
    pub(crate) decision: &'a str,
    pub(crate) rendition: Option<&'a str>,
    pub(crate) reasons: &'a [String],
    /// The client, as it names itself.
    pub(crate) program: Option<&'a str>,
}

/// The sources of a file. Fails with 404.
pub(crate) async fn source(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
) -> Result<Source, ApiError> {
    let row =
        query_one(client, "SELECT nebula.playback_source(nebula.actor($1), $2)", &[&actor, &file_id]).await?;
    serde_json::from_value(row.try_get(0)?).map_err(|error| ApiError::internal(&error))
}

/// Records a decision.
pub(crate) async fn record(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    Record { decision, rendition, reasons, program }: Record<'_>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.record_playback(nebula.actor($1), $2, $3, $4, $5, $6)";
    query(client, sql, &[&actor, &file_id, &decision, &rendition, &reasons, &program]).await.map(drop)
}
