//! Share links: `/api/shares`, and what their visitors ask.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Body of `POST /api/shares`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewShare {
    /// The file that the link opens.
    pub file_id: Uuid,
    /// End of its validity; absent: until it is revoked.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// Visitors are asked for it; absent: they are not.
    #[serde(default)]
    pub password: Option<String>,
    /// Whether the upload itself may be fetched (by default); otherwise it is only played.
    #[serde(default = "yes")]
    pub allows_download: bool,
    /// For whom it is; visitors do not see it.
    #[serde(default)]
    pub note: Option<String>,
}

fn yes() -> bool {
    true
}

/// Answer of `POST /api/shares`: the only one that has the link.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct MadeShare {
    /// Identifier.
    pub share_id: Uuid,
    /// Path of the page below the gateway's address.
    pub path: String,
    /// End of its validity.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A share link as members of its project see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Identifier.
    pub share_id: Uuid,
    /// Project of the file.
    pub project_id: Uuid,
    /// The file; absent: it was deleted for good.
    pub file_id: Option<Uuid>,
    /// Its name.
    pub file_name: Option<String>,
    /// Account that made the link.
    pub made_by: String,
    /// For whom it is.
    pub note: Option<String>,
    /// Whether visitors are asked for a password.
    pub has_password: bool,
    /// Whether the upload itself may be fetched.
    pub allows_download: bool,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// End of its validity.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was ended.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was opened last.
    pub last_used_at: Option<DateTime<Utc>>,
    /// How often it was opened.
    pub uses: i64,
    /// `open`, `revoked`, `expired`, `deleted` (its file), or `withdrawn` (its maker may not see the file any more).
    pub state: String,
}

/// Body of `POST /api/shares/open`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenShare {
    /// Last part of the link.
    pub token: String,
    /// The password, if the link has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A shared file as its visitors see it. The paths work for twelve hours, and no longer than the link.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SharedFile {
    /// Name of the file.
    pub name: String,
    /// Size of the upload in bytes.
    pub size: i64,
    /// Media type of the upload.
    pub content_type: String,
    /// `waiting`, `processing`, `ready` or `failed`.
    pub state: String,
    /// Plays or shows it as one file; absent: not made yet.
    pub play: Option<SharedPath>,
    /// Playlist of its streams.
    pub stream: Option<String>,
    /// The upload itself, where that may be fetched.
    pub download: Option<String>,
    /// End of the link.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A path below the gateway's address.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SharedPath {
    /// Path and query.
    pub path: String,
    /// Media type of what is there.
    pub content_type: String,
}
