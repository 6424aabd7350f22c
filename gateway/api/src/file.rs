//! Files: `POST /api/files`, `GET /api/files`, `GET /api/files/{id}/content`, `POST /api/files/{id}/link`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Query of `POST /api/files`; the body is the bytes themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[serde(rename_all = "camelCase")]
pub struct UploadQuery {
    /// Project to upload into.
    pub project_id: Uuid,
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
    /// Name, unique in the project.
    pub name: String,
    /// Size of the upload in bytes.
    pub size: i64,
    /// SHA-256 of the upload, hex.
    pub sha256: String,
    /// Media type recognised from the bytes.
    pub content_type: String,
    /// Name of the account that uploaded it.
    pub owner: Option<String>,
    /// When it was uploaded.
    pub uploaded_at: DateTime<Utc>,
    /// `waiting`, `processing`, `ready` or `failed`.
    pub state: String,
    /// 0 to 1 while processing.
    pub progress: Option<f32>,
    /// Why it failed.
    pub error: Option<String>,
    /// Job that makes its renditions.
    pub job_id: Option<i64>,
    /// Files derived from it.
    pub renditions: Vec<Rendition>,
}

/// A file derived from an upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rendition {
    /// `web`: MP4 that browsers play.
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
