//! Files: `POST /api/files`, `GET /api/files`, `GET /api/files/{id}/content`, `POST /api/files/{id}/link`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Query of `POST /api/files`; the body is the bytes themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(rename_all = "camelCase")]
pub struct UploadQuery {
    /// Project to upload into.
    pub project_id: Uuid,
    /// Folder to put it into: names joined by slashes; without it, the top.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    /// File name, without folders.
    pub name: String,
    /// SHA-256 of the bytes in hexadecimal, if the client knows it: bytes that are there already under this
    /// name are not read again, and others that arrive are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// A file and its renditions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Identifier.
    pub file_id: Uuid,
    /// Project it belongs to.
    pub project_id: Uuid,
    /// Names of folders joined by slashes, empty at the top.
    #[serde(default)]
    pub folder: String,
    /// Name, unique in its folder.
    pub name: String,
    /// Size of the upload in bytes.
    pub size: i64,
    /// SHA-256 of the upload, hex.
    pub sha256: String,
    /// Media type recognised from the bytes.
    pub content_type: String,
    /// `film`, `sound`, `picture` or `other`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::FileKind))]
    pub kind: String,
    /// Seconds, if it is a film or a sound and was looked at.
    #[serde(default)]
    pub duration: Option<f64>,
    /// Words by which its people find it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Name of the account that uploaded it.
    pub owner: Option<String>,
    /// When it was uploaded.
    pub uploaded_at: DateTime<Utc>,
    /// Since when it has been in the trash.
    #[serde(default)]
    pub deleted_at: Option<DateTime<Utc>>,
    /// Where the caller stopped in it, in seconds.
    #[serde(default)]
    pub resume_at: Option<f64>,
    /// `waiting`, `processing`, `ready` or `failed`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::FileState))]
    pub state: String,
    /// 0 to 1 while processing.
    pub progress: Option<f32>,
    /// Why it failed.
    pub error: Option<String>,
    /// Job that makes its renditions.
    pub job_id: Option<i64>,
    /// Files derived from it.
    pub renditions: Vec<Rendition>,
    /// Sentences for people: all that was done with it and all that was left out; empty as long as that is not known.
    #[serde(default)]
    pub summary: Vec<String>,
    /// Damage, losses, and streams that were left out; the summary has them, too.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Body of `PATCH /api/files/{id}`: another place for a file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// Its folder; without it, that where it is or was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Its name; without it, the one that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Body of `PUT /api/files/{id}/tags`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Tags {
    /// All tags that the file is to have; small letters.
    pub tags: Vec<String>,
}

/// Body of `PUT /api/files/{id}/conversion`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Conversion {
    /// `true`: the file is converted once more; `false`: it is kept as it was uploaded.
    pub wanted: bool,
}

/// A file derived from an upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rendition {
    /// `web`: MP4 that browsers play; `poster`, `sprites-<n>`, `sprites-vtt`; `subtitle-<n>` of the film itself, and
    /// `subtitle-<12 letters>` of a file beside it; `subtitle` of such a file.
    pub kind: String,
    /// Size in bytes.
    pub size: i64,
    /// Media type.
    pub content_type: String,
    /// SHA-256, hex.
    pub sha256: String,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// How it was made: decision, reasons, codecs, duration, warnings.
    pub detail: Value,
}

/// Answer of `POST /api/files/{id}/link`: a URL that plays without a header, for players and `<video>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Path and query below the gateway's address.
    pub path: String,
    /// End of its validity.
    pub expires_at: DateTime<Utc>,
}

/// Body of `POST /api/files/{id}/hls/seek`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MakeFrom {
    /// Seconds from the start of the film.
    pub seconds: f64,
}

/// Answer of `POST /api/files/{id}/hls/seek`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MadeFrom {
    /// Chunks from there on that were waiting and come first now, at most three.
    pub waiting: i32,
}
