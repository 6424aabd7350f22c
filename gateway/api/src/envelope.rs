//! The shape of every answer.

use serde::{Deserialize, Serialize};

/// A successful answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Envelope<T> {
    /// Always true; lets a client tell success from failure without the status line.
    pub success: bool,
    /// What was asked for.
    pub data: T,
}

impl<T> Envelope<T> {
    /// Wraps an answer.
    pub fn new(data: T) -> Self {
        Self { success: true, data }
    }
}

/// A failed answer. The HTTP status says the same as `error`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// Always false.
    pub success: bool,
    /// Machine-readable code, for example `pool_exhausted`.
    pub error: String,
    /// SQLSTATE of the same meaning, for example `53400`.
    pub sqlstate: String,
    /// One sentence: what was wrong with which object.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}
