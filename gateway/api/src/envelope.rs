//! The form of every response.

use std::collections::BTreeMap;

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

/// A successful response that may be one of several pages. How many results there are is said with the first page.
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
    /// How many results all pages have; absent where counting them would take longer than the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// How many there are in each state, whatever `state` the request asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<BTreeMap<String, i64>>,
}

impl<T> Page<T> {
    /// A page whose total is not known.
    pub fn new(data: Vec<T>, next: Option<String>) -> Self {
        Self { success: true, data, next, total: None, counts: None }
    }

    /// Adds how many results there are, and how many in each state.
    #[must_use]
    pub fn counted(self, total: i64, counts: Option<BTreeMap<String, i64>>) -> Self {
        Self { total: Some(total), counts, ..self }
    }
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
    /// The part of the request at fault, if it is one: a parameter of the query or the path, or the path of a value in
    /// the body, such as `peers[0].name`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// Why the caller is not signed in, in a 401: `expired`, `ended`, `signed-out`, `reused`, `password-changed`, `disabled`,
    /// `unknown`; or `second-factor`: a code is missing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}
