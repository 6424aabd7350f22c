//! Failures of requests, and the one table that gives each its HTTP status and its code.
//!
//! Which error type belongs where:
//! * [`ApiError`]: on the path of a request, from the database up to the handler. `http::error` makes the
//!   response.
//! * `Refusal` (`domain::agent_protocol`): an [`ApiError`] in the form of the agent protocol, with the field
//!   at fault.
//! * `ReceiveError`, `ContentError` (`files::upload`), `TokenError`, `AuthorityStatus`…: what one part can
//!   fail with; the caller matches on it and makes an [`ApiError`].
//! * `StoreError`, `nebula_certificate::Error`: of the shared crates; converted here and in
//!   `domain::authority`.
//! * `anyhow::Error`: only in start-up and the command line (`main`, `server`, `settings`, `account`), which
//!   print it.
//!
//! SQL functions raise a SQLSTATE; [`MEANINGS`] gives it an HTTP status and a code. The gateway's own
//! failures use the same table, so that one meaning looks the same wherever it was noticed. An unexpected
//! failure is logged under an identifier, and the caller is told only the identifier.

use std::fmt;
use std::time::Duration;

use nebula_api::Failure;
use nebula_api::peer::ItemError;
use uuid::Uuid;

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// Also set for failures that the gateway noticed without asking PostgreSQL.
    pub(crate) sqlstate: &'static str,
    pub(crate) status: u16,
    /// Stable code for programs.
    pub(crate) code: &'static str,
}

impl Meaning {
    /// The hint of failures that have none of their own.
    fn usual_hint(self) -> Option<&'static str> {
        match self.status {
            400 | 413 | 415 | 416 => Some("GET /openapi.json describes what this route takes."),
            401 => Some("Sign in: POST /api/auth/login."),
            403 => Some("Ask an administrator."),
            404 | 410 => Some("List what there is, and name one of it."),
            409 | 412 => Some("Look at what there is now, and repeat the request if it still makes sense."),
            408 | 429 | 503 => Some("Try again in a moment."),
            _ => None,
        }
    }
}

const fn meaning(sqlstate: &'static str, status: u16, code: &'static str) -> Meaning {
    Meaning { sqlstate, status, code }
}

/// The request itself is wrong.
pub(crate) const BAD_ARGUMENT: Meaning = meaning("22023", 400, "bad_argument");
/// No valid token, or wrong credentials.
pub(crate) const NOT_AUTHENTICATED: Meaning = meaning("28000", 401, "not_authenticated");
/// Known, but not allowed.
pub(crate) const NOT_PERMITTED: Meaning = meaning("42501", 403, "not_permitted");
/// No such project, pool, device, node, job, file, or URL.
pub(crate) const NOT_FOUND: Meaning = meaning("P0002", 404, "not_found");
/// The URL exists, the method does not.
pub(crate) const METHOD: Meaning = meaning("0A000", 405, "method_not_allowed");
/// Already exists, overlaps, or is taken.
pub(crate) const CONFLICT: Meaning = meaning("23505", 409, "already_exists");
/// It was there, and is not any more.
pub(crate) const GONE: Meaning = meaning("55000", 410, "gone");
/// Lost lease, already released, revoked.
pub(crate) const WRONG_STATE: Meaning = meaning("55000", 409, "wrong_state");
/// The caller asked for one version, and this is another.
pub(crate) const PRECONDITION: Meaning = meaning("55000", 412, "precondition_failed");
/// The body of the request came too slowly.
pub(crate) const TIMEOUT: Meaning = meaning("08006", 408, "timeout");
/// The body is larger than the route takes.
pub(crate) const TOO_LARGE: Meaning = meaning("22001", 413, "too_large");
/// The body is of a kind the route does not take.
pub(crate) const MEDIA_TYPE: Meaning = meaning("22023", 415, "unsupported_media_type");
/// Another request is at work on it.
pub(crate) const LOCKED: Meaning = meaning("55006", 423, "locked");
/// Bytes that arrived are not those of the checksum; the status is that of the upload protocol tus.
pub(crate) const CHECKSUM: Meaning = meaning("22023", 460, "checksum_mismatch");
/// The byte range lies outside the file.
pub(crate) const RANGE: Meaning = meaning("22003", 416, "range_not_satisfiable");
/// Too many requests; try again later.
pub(crate) const RATE_LIMITED: Meaning = meaning("54000", 429, "rate_limited");
/// A fault of the gateway or of its set-up.
pub(crate) const INTERNAL: Meaning = meaning("XX000", 500, "internal");
/// No node fits.
pub(crate) const NO_NODE: Meaning = meaning("53000", 503, "no_node");
/// Database or storage cannot be reached just now.
pub(crate) const UNAVAILABLE: Meaning = meaning("08006", 503, "unavailable");
/// Every address of the pool is taken.
pub(crate) const POOL_EXHAUSTED: Meaning = meaning("53400", 507, "pool_exhausted");
/// The project or the account has no bytes left.
pub(crate) const QUOTA: Meaning = meaning("53Q00", 507, "quota_exceeded");
/// The upload alone is larger than the quota.
pub(crate) const ABOVE_QUOTA: Meaning = meaning("53Q01", 413, "quota_exceeded");
/// No space left for rows or bytes.
pub(crate) const DISK_FULL: Meaning = meaning("53100", 507, "disk_full");

/// The meanings that `nebula.*` functions raise.
pub(crate) const MEANINGS: [Meaning; 11] = [
    BAD_ARGUMENT,
    NOT_AUTHENTICATED,
    NOT_PERMITTED,
    NOT_FOUND,
    CONFLICT,
    WRONG_STATE,
    RATE_LIMITED,
    NO_NODE,
    POOL_EXHAUSTED,
    QUOTA,
    ABOVE_QUOTA,
];

/// A failed request.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    meaning: Meaning,
    /// In a box, because every fallible function would otherwise return as many bytes.
    said: Box<Said>,
}

/// Everything that is said of a failure beside its meaning.
#[derive(Debug, Clone, Default)]
struct Said {
    sqlstate: Option<Box<str>>,
    detail: Box<str>,
    hint: Option<Box<str>>,
    field: Option<Box<str>>,
    allow: Option<Box<str>>,
    retry_after: Option<u64>,
    reason: Option<&'static str>,
}

impl ApiError {
    /// `detail` is a sentence; [`Self::hint`] adds what to do.
    pub(crate) fn new(meaning: Meaning, detail: impl Into<Box<str>>) -> Self {
        Self { meaning, said: Box::new(Said { detail: detail.into(), ..Said::default() }) }
    }

    /// 400: the caller sent something that cannot be used.
    pub(crate) fn bad_argument(detail: impl Into<Box<str>>) -> Self {
        Self::new(BAD_ARGUMENT, detail)
    }

    /// 404: what the URL names does not exist.
    pub(crate) fn not_found(detail: impl Into<Box<str>>) -> Self {
        Self::new(NOT_FOUND, detail)
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.meaning.status == NOT_FOUND.status
    }

    /// 503: a part the gateway depends on does not answer. The cause goes only to the log.
    pub(crate) fn unavailable(part: &str, cause: &dyn fmt::Display) -> Self {
        tracing::warn!(part, error = %cause, "a part the gateway depends on does not answer");
        Self::new(UNAVAILABLE, format!("the {part} cannot be reached just now"))
            .hint("Try again in a moment; GET /health/ready says which part fails.")
    }

    /// 500: an unexpected failure. The cause goes to the log under an identifier, and the caller gets the
    /// identifier.
    pub(crate) fn internal(cause: &dyn fmt::Display) -> Self {
        let id = Uuid::new_v4();
        tracing::error!(%id, error = %cause, "internal error");
        Self::new(INTERNAL, format!("the gateway failed in a way it should not (error {id})"))
            .hint("Look for that number in the gateway's log.")
    }

    /// The failure of the only item of a batch.
    pub(crate) fn of_item(item: ItemError) -> Self {
        let known = MEANINGS.into_iter().find(|meaning| meaning.sqlstate == item.sqlstate);
        let error = Self::new(known.unwrap_or(BAD_ARGUMENT), item.detail).sqlstate(&item.sqlstate);
        match item.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// The same failure as that of an item of a batch.
    pub(crate) fn into_item(self) -> ItemError {
        let Failure { sqlstate, detail, hint, .. } = self.failure();
        ItemError { sqlstate, detail, hint }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.said.hint = Some(hint.into());
        self
    }

    /// Names the part of the request at fault: a parameter, or the path of a value in the body.
    #[must_use]
    pub(crate) fn field(mut self, field: impl Into<Box<str>>) -> Self {
        self.said.field = Some(field.into());
        self
    }

    /// Sets when to try again, for a 429; without it, after a minute.
    #[must_use]
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.said.retry_after = Some(wait.as_secs() + 1);
        self
    }

    /// Adds why the caller is not signed in, for a 401.
    #[must_use]
    pub(crate) fn reason(mut self, reason: &'static str) -> Self {
        self.said.reason = Some(reason);
        self
    }

    /// Adds the methods that the URL has, for a 405.
    #[must_use]
    pub(crate) fn allow(mut self, methods: &str) -> Self {
        self.said.allow = Some(methods.into());
        self
    }

    /// Replaces the SQLSTATE of the meaning by the exact one.
    #[must_use]
    pub(crate) fn sqlstate(mut self, sqlstate: &str) -> Self {
        self.said.sqlstate = Some(sqlstate.into());
        self
    }

    pub(crate) fn meaning(&self) -> Meaning {
        self.meaning
    }

    pub(crate) fn allowed_methods(&self) -> Option<&str> {
        self.said.allow.as_deref()
    }

    /// Seconds, for the header `Retry-After`.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        self.said.retry_after
    }

    /// The body of the response.
    pub(crate) fn failure(&self) -> Failure {
        Failure {
            success: false,
            error: self.meaning.code.to_owned(),
            sqlstate: self.said.sqlstate.as_deref().unwrap_or(self.meaning.sqlstate).to_owned(),
            detail: beginning(&self.said.detail),
            hint: self.said.hint.as_deref().or(self.meaning.usual_hint()).map(beginning),
            field: self.said.field.as_deref().map(beginning),
            reason: self.said.reason.map(str::to_owned),
        }
    }
}

/// Characters of a message that a client gets.
const MESSAGE_LENGTH: usize = 2000;

/// As much of a message as anybody reads: it may repeat a text of the request.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sqlstate = self.said.sqlstate.as_deref().unwrap_or(self.meaning.sqlstate);
        write!(f, "{sqlstate}: {}", self.said.detail)
    }
}

impl std::error::Error for ApiError {}

/// Bytes could not be stored or read: 507 for a full disk or quota, else 503, the storage does not answer.
impl From<nebula_storage::StoreError> for ApiError {
    fn from(error: nebula_storage::StoreError) -> Self {
        use nebula_storage::StoreError;
        match &error {
            StoreError::Io { source, .. } if error.is_no_room() => Self::no_room(source),
            StoreError::Bucket { .. } if error.is_no_room() => {
                tracing::error!(%error, "the storage is full");
                Self::new(DISK_FULL, "the bucket takes no more: it is full or over its quota")
                    .hint("Delete files, or ask the administrator for a larger quota.")
            }
            StoreError::Io { .. } | StoreError::Bucket { .. } => Self::unavailable("storage", &error),
            _ => Self::internal(&error),
        }
    }
}

/// Detail and hint of a failure in one line, for the operator.
pub(crate) fn sentence(error: ApiError) -> anyhow::Error {
    let failure = error.failure();
    match failure.hint {
        Some(hint) => anyhow::anyhow!("{}. {hint}", failure.detail),
        None => anyhow::anyhow!(failure.detail),
    }
}

impl ApiError {
    /// The refusal of bytes by the file system, for an error that `nebula_storage::is_no_room` is true of.
    pub(crate) fn no_room(error: &std::io::Error) -> Self {
        tracing::error!(%error, "the storage has no room");
        match error.kind() {
            std::io::ErrorKind::ReadOnlyFilesystem => Self::new(
                UNAVAILABLE,
                "the storage is mounted read-only",
            )
            .hint("The administrator finds the reason in the kernel's log, and mounts it for writing again."),
            std::io::ErrorKind::QuotaExceeded => Self::new(DISK_FULL, "the quota of the storage is used up")
                .hint("Delete files, or raise the quota."),
            _ => Self::new(DISK_FULL, "the storage is full").hint("Delete files or make room on the disk."),
        }
    }
}

/// The messages of an error and its sources. tokio_postgres, for one, says only "error connecting to server",
/// and gives the reason in the source.
pub(crate) fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
