//! Share links: `/api/shares`, and what their visitors ask.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Body of `POST /api/shares`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewShare {
    /// The file that the link opens; absent: it opens a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<Uuid>,
    /// Project of the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<Uuid>,
    /// The folder whose files the link opens, with those below it and those that come later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
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
    /// Project of the file or folder.
    pub project_id: Uuid,
    /// The file; absent: the link opens a folder, or the file was deleted for good.
    pub file_id: Option<Uuid>,
    /// Its name.
    pub file_name: Option<String>,
    /// The folder, if the link opens one.
    #[serde(default)]
    pub folder: Option<String>,
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
    /// `open`, `revoked`, `expired`, `deleted` (its file, or all in its folder), or `withdrawn` (its maker may not see the file any more).
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::ShareState))]
    pub state: String,
}

/// Body of `POST /api/shares/open`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OpenShare {
    /// Last part of the link.
    pub token: String,
    /// The password, if the link has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Of a link to a folder: the file that is opened; absent: the list is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<Uuid>,
}

/// Answer of `POST /api/shares/open`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Shared {
    /// One file.
    File(SharedFile),
    /// The files of a folder.
    Folder(SharedFolder),
}

/// A shared folder as its visitors see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SharedFolder {
    /// Last name of the folder.
    pub name: String,
    /// Its files and those below it, by name.
    pub files: Vec<SharedEntry>,
    /// Whether these are all.
    pub is_complete: bool,
    /// End of the link.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A file of a shared folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SharedEntry {
    /// Identifier, by which it is opened.
    pub file_id: Uuid,
    /// Path from the shared folder on.
    pub name: String,
    /// Size of the upload in bytes.
    pub size: i64,
    /// Media type of the upload.
    pub content_type: String,
    /// `waiting`, `processing`, `ready` or `failed`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::FileState))]
    pub state: String,
    /// Seconds, if it is a film or a sound and was looked at.
    pub duration: Option<f64>,
    /// Its picture; absent: it has none, or not yet.
    pub poster: Option<String>,
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
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::FileState))]
    pub state: String,
    /// Plays or shows it as one file; absent: not made yet.
    pub play: Option<SharedPath>,
    /// Playlist of its streams.
    pub stream: Option<String>,
    /// A picture of it.
    pub poster: Option<String>,
    /// Index of its small pictures to seek by (WebVTT).
    pub sprites: Option<String>,
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
