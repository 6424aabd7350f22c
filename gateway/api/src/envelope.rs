//! The form of every response.

use serde::{Deserialize, Serialize};

/// A successful response.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Envelope<T> {
    /// Always true; tells success from failure without the status line.
    pub success: bool,
    /// The result.
    pub data: T,
}

impl<T> Envelope<T> {
    /// Wraps an answer.
    pub fn new(data: T) -> Self {
        Self { success: true, data }
    }
}

/// A successful response that may be one of several pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// Always true; tells success from failure without the status line.
    pub success: bool,
    /// The results of this page.
    pub data: Vec<T>,
    /// `cursor` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A failed response. `error` and the HTTP status have the same meaning.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// Always false.
    pub success: bool,
    /// Code for programs, for example `pool_exhausted`.
    pub error: String,
    /// SQLSTATE of the same meaning, for example `53400`.
    pub sqlstate: String,
    /// One sentence that names the object and the problem.
    pub detail: String,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// Why the caller is not signed in, in a 401: `expired`, `ended`, `signed-out`, `reused`, `password-changed`, `disabled`,
    /// `unknown`; or `second-factor`: a code is missing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}
