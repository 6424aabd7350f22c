//! Where people stopped in films: `PUT`, `DELETE /api/files/{id}/bookmark`, `GET /api/bookmarks`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Body of `PUT /api/files/{id}/bookmark`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewBookmark {
    /// Seconds from the start.
    pub seconds: f64,
    /// Length of the film in seconds, if the player knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
}

/// Something that the caller has begun and not finished.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Bookmark {
    /// The file.
    pub file_id: Uuid,
    /// Its project.
    pub project_id: Uuid,
    /// Its folder.
    pub folder: String,
    /// Its name.
    pub name: String,
    /// `film`, `sound`, `picture` or `other`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::FileKind))]
    pub kind: String,
    /// Media type of the upload.
    pub content_type: String,
    /// Where the caller stopped.
    pub seconds: f64,
    /// Length in seconds, if it is known.
    pub duration: Option<f64>,
    /// When.
    pub updated_at: DateTime<Utc>,
}
