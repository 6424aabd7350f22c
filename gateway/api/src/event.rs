//! Events: `GET /api/events` and the live `GET /api/stream`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A line of the append-only record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Order of writing.
    pub event_id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Project concerned.
    pub project_id: Option<Uuid>,
    /// Who.
    pub actor: String,
    /// Did what.
    pub action: String,
    /// To what kind of thing.
    pub subject: String,
    /// Which one.
    pub subject_id: String,
    /// What else is worth knowing.
    pub detail: Value,
}

/// One message of `GET /api/stream` (server-sent events, `event: change`): something changed, ask for it
/// again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// Project concerned, or null.
    pub project: Option<Uuid>,
    /// `device`, `file`, `job`, …
    pub subject: String,
    /// Which one.
    pub id: String,
    /// `register`, `upload`, `progress`, …
    pub action: String,
}
