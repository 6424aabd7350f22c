//! Folders of files: `GET`, `DELETE /api/folders`, `POST /api/folders/move`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A folder, which is there as long as a file is in it or below it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Folder {
    /// Names joined by slashes.
    pub folder: String,
    /// Files in it and below it.
    pub files: i64,
    /// Their bytes.
    pub size: i64,
    /// Last upload.
    pub uploaded_at: DateTime<Utc>,
}

/// Body of `POST /api/folders/move`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MoveFolder {
    /// Project it is in.
    pub project_id: Uuid,
    /// Its name now.
    pub folder: String,
    /// Its name from then on; empty: its files go to the top.
    pub to: String,
}

/// How many files a request changed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Changed {
    /// Files.
    pub files: i64,
}

/// A tag and how many files have it: `GET /api/tags`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tag {
    /// The word.
    pub tag: String,
    /// Files that have it.
    pub files: i64,
}
