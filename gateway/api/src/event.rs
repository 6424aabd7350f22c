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
    /// Increases with time.
    pub event_id: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Project concerned.
    pub project_id: Option<Uuid>,
    /// Name of the account, or the part of the system, that did it.
    pub actor: String,
    /// The action.
    pub action: String,
    /// Kind of the object.
    pub subject: String,
    /// Identifier of the object.
    pub subject_id: String,
    /// Further facts.
    pub detail: Value,
}

/// One message of `GET /api/stream` (server-sent events, `event: change`): something changed; the
/// client asks for it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// Project concerned, or null.
    pub project: Option<Uuid>,
    /// `device`, `file`, `job`, …
    pub subject: String,
    /// Identifier of the object.
    pub id: String,
    /// `register`, `upload`, `progress`, …
    pub action: String,
}
