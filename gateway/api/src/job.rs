//! Jobs: `GET /api/jobs`, `GET /api/jobs/{id}`, and cancelling or retrying one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A unit of background work.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Identifier.
    pub job_id: i64,
    /// The kind of work, for example `transcode`.
    pub kind: String,
    /// `blocked`, `available`, `running`, `succeeded`, `dead` or `cancelled`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::JobState))]
    pub state: String,
    /// Project it belongs to, if any.
    pub project_id: Option<Uuid>,
    /// Arguments of the work.
    pub payload: Value,
    /// Higher runs first.
    pub priority: i32,
    /// Attempts begun so far.
    pub attempt: i32,
    /// Attempts at most.
    pub max_attempts: i32,
    /// The worker that runs it now.
    pub worker: Option<String>,
    /// 0 to 1 while running.
    pub progress: Option<f32>,
    /// Stage, speed and the like, as the worker reports them.
    pub detail: Option<Value>,
    /// Result of a succeeded job.
    pub result: Option<Value>,
    /// History of failed attempts.
    pub errors: Value,
    /// When it was enqueued.
    pub enqueued_at: DateTime<Utc>,
    /// Not before this, while waiting.
    pub run_at: Option<DateTime<Utc>>,
    /// When the current or last attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Set while it runs and is to be cancelled; its worker hears of it with the next heartbeat.
    pub cancel_requested: bool,
}

/// Answer of `POST /api/jobs/{id}/cancel` and `/retry`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct JobChange {
    /// The job.
    pub job_id: i64,
    /// `cancelled`, or `cancelling` while its worker has not stopped yet; `available` after a retry.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::ChangedJobState))]
    pub state: String,
}
