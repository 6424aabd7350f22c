//! The one mapping from whatever went wrong to what the caller is told.
//!
//! SQL functions say what they mean with a SQLSTATE; [`MEANINGS`] gives each its HTTP status and its code. The gateway's
//! own refusals use the same table, so that one meaning looks the same wherever it was noticed. What nobody expected is
//! logged under an identifier and answered with the identifier alone.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use nebula_api::Failure;
use uuid::Uuid;

mod database;
mod request;

pub(crate) use database::with_source;
pub use request::{json_config, method_not_allowed, not_found, path_config, query_config};

/// A kind of failure: its SQLSTATE, its HTTP status, and the word for it in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// As PostgreSQL spells it, also for failures that never reached it.
    pub sqlstate: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Stable word for programs.
    pub code: &'static str,
}

const fn meaning(sqlstate: &'static str, status: u16, code: &'static str) -> Meaning {
    Meaning { sqlstate, status, code }
}

/// The request itself is wrong.
pub const BAD_ARGUMENT: Meaning = meaning("22023", 400, "bad_argument");
/// No valid token, or wrong credentials.
pub const NOT_AUTHENTICATED: Meaning = meaning("28000", 401, "not_authenticated");
/// Known, but not allowed.
pub const NOT_PERMITTED: Meaning = meaning("42501", 403, "not_permitted");
/// No such project, pool, device, node, job, file, or URL.
pub const NOT_FOUND: Meaning = meaning("P0002", 404, "not_found");
/// The URL exists, the method does not.
pub const METHOD: Meaning = meaning("0A000", 405, "method_not_allowed");
/// Already exists, overlaps, or is taken.
pub const CONFLICT: Meaning = meaning("23505", 409, "already_exists");
/// Lost lease, already released, revoked.
pub const WRONG_STATE: Meaning = meaning("55000", 409, "wrong_state");
/// The caller asked for one version, and this is another.
pub const PRECONDITION: Meaning = meaning("55000", 412, "precondition_failed");
/// The body is larger than the route takes.
pub const TOO_LARGE: Meaning = meaning("22001", 413, "too_large");
/// The body is of a kind the route does not take.
pub const MEDIA_TYPE: Meaning = meaning("22023", 415, "unsupported_media_type");
/// The byte range lies outside the file.
pub const RANGE: Meaning = meaning("22003", 416, "range_not_satisfiable");
/// Too many requests; try again later.
pub const RATE_LIMITED: Meaning = meaning("54000", 429, "rate_limited");
/// A fault of the gateway or of its set-up.
pub const INTERNAL: Meaning = meaning("XX000", 500, "internal");
/// No node fits.
pub const NO_NODE: Meaning = meaning("53000", 503, "no_node");
/// Database or storage cannot be reached just now.
pub const UNAVAILABLE: Meaning = meaning("08006", 503, "unavailable");
/// Every address of the pool is taken.
pub const POOL_EXHAUSTED: Meaning = meaning("53400", 507, "pool_exhausted");
/// No space left for rows or bytes.
pub const DISK_FULL: Meaning = meaning("53100", 507, "disk_full");

/// What a SQLSTATE of a `nebula.*` function means to a caller.
pub const MEANINGS: [Meaning; 9] = [
    BAD_ARGUMENT,
    NOT_AUTHENTICATED,
    NOT_PERMITTED,
    NOT_FOUND,
    CONFLICT,
    WRONG_STATE,
    RATE_LIMITED,
    NO_NODE,
    POOL_EXHAUSTED,
];

/// A failed request: what every handler returns instead of an answer.
#[derive(Debug, Clone)]
pub struct ApiError {
    meaning: Meaning,
    sqlstate: Option<Box<str>>,
    detail: Box<str>,
    hint: Option<Box<str>>,
    allow: Option<Box<str>>,
    retry_after: Option<u64>,
}

impl ApiError {
    /// A failure with its sentence; [`Self::hint`] adds what to do.
    pub fn new(meaning: Meaning, detail: impl Into<Box<str>>) -> Self {
        Self { meaning, sqlstate: None, detail: detail.into(), hint: None, allow: None, retry_after: None }
    }

    /// 400: the caller sent something that cannot be used.
    pub fn bad_argument(detail: impl Into<Box<str>>) -> Self {
        Self::new(BAD_ARGUMENT, detail)
    }

    /// 404: what the URL names does not exist.
    pub fn not_found(detail: impl Into<Box<str>>) -> Self {
        Self::new(NOT_FOUND, detail)
    }

    /// Whether it is a 404.
    pub fn is_not_found(&self) -> bool {
        self.meaning.status == NOT_FOUND.status
    }

    /// 503: a part the gateway depends on does not answer. The cause goes to the log only.
    pub fn unavailable(part: &str, cause: &dyn fmt::Display) -> Self {
        tracing::warn!(part, error = %cause, "a part the gateway depends on does not answer");
        Self::new(UNAVAILABLE, format!("the {part} cannot be reached just now"))
            .hint("Try again in a moment; GET /health/ready says which part fails.")
    }

    /// 500: something nobody expected. The cause goes to the log under an identifier, the caller gets the identifier.
    pub fn internal(cause: &dyn fmt::Display) -> Self {
        let id = Uuid::new_v4();
        tracing::error!(%id, error = %cause, "internal error");
        Self::new(INTERNAL, format!("the gateway failed in a way it should not (error {id})"))
            .hint("Look for that number in the gateway's log.")
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says when to try again, for a 429; without it, in a minute.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait.as_secs() + 1);
        self
    }

    /// Its kind.
    pub fn meaning(&self) -> Meaning {
        self.meaning
    }

    /// The body that is sent.
    pub fn failure(&self) -> Failure {
        Failure {
            success: false,
            error: self.meaning.code.to_owned(),
            sqlstate: self.sqlstate.as_deref().unwrap_or(self.meaning.sqlstate).to_owned(),
            detail: self.detail.to_string(),
            hint: self.hint.as_deref().map(str::to_owned),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sqlstate = self.sqlstate.as_deref().unwrap_or(self.meaning.sqlstate);
        write!(f, "{sqlstate}: {}", self.detail)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.meaning.status).expect("the constants above are HTTP statuses")
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        let header = match self.meaning.status {
            401 => Some((WWW_AUTHENTICATE, r#"Bearer realm="nebula""#)),
            503 => Some((RETRY_AFTER, "1")),
            _ => None,
        };
        if self.meaning == RATE_LIMITED {
            response.insert_header((RETRY_AFTER, self.retry_after.unwrap_or(60).to_string()));
        }
        if let Some(header) = header {
            response.insert_header(header);
        }
        if let Some(methods) = &self.allow {
            response.insert_header((ALLOW, &**methods));
        }
        response.json(self.failure())
    }
}

/// Bytes could not be stored or read: a full disk is said as such, everything else is the storage not answering.
impl From<nebula_storage::StoreError> for ApiError {
    fn from(error: nebula_storage::StoreError) -> Self {
        use nebula_storage::StoreError;
        match &error {
            StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                tracing::error!(%error, "the storage is full");
                Self::new(DISK_FULL, "the storage is full").hint("Delete files or make room on the disk.")
            }
            StoreError::Io { .. } | StoreError::Bucket { .. } => Self::unavailable("storage", &error),
            _ => Self::internal(&error),
        }
    }
}

impl ApiError {
    /// The methods that would do, for a 405.
    fn allow(mut self, methods: &str) -> Self {
        self.allow = Some(methods.into());
        self
    }

    /// The exact SQLSTATE, where several share a meaning.
    fn sqlstate(mut self, sqlstate: &str) -> Self {
        self.sqlstate = Some(sqlstate.into());
        self
    }
}
