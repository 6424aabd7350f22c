//! Events: `GET /api/events` and the live `GET /api/stream`.

use std::net::IpAddr;

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
    /// `account`, `agent` (of a device or a node), `gateway`, `system` (work of the server itself) or `login` (a role of
    /// the database).
    #[serde(default)]
    pub actor_kind: String,
    /// The account, where one did it.
    #[serde(default)]
    pub actor_id: Option<Uuid>,
    /// The action.
    pub action: String,
    /// Kind of the object.
    pub subject: String,
    /// Identifier of the object.
    pub subject_id: String,
    /// Address of the client. Shown to administrators and to the account that did it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub client: Option<IpAddr>,
    /// `X-Request-Id` of the request, by which the gateway's log is searched. Shown to the same.
    #[serde(default)]
    pub request_id: Option<String>,
    /// Further facts; of a change the values `before` and `after` it.
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
    /// The recorded event, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<i64>,
}
