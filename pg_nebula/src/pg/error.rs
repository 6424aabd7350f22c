//! Errors of the SQL functions, with one SQLSTATE for each meaning; the gateway maps the same codes to HTTP
//! statuses.

use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::spi::SpiError;

/// Result of functions that SQL does not call itself.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// For functions that SQL calls. pgrx recognises a fallible return type by the word `Result`, hence the same
/// name.
pub(crate) mod sql {
    use pgrx::pg_sys::panic::ErrorReport;

    /// Result of a `#[pg_extern]` function: `?` turns an [`Error`](super::Error) into a report with SQLSTATE
    /// and hint.
    pub(crate) type Result<T> = std::result::Result<T, ErrorReport>;
}

/// Meanings that a caller can tell apart by SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An argument is malformed or out of range (22023).
    BadArgument,
    /// The project, pool, device, node or job does not exist (P0002).
    Missing,
    /// The name, range or address is taken (23505).
    Exists,
    /// The caller has not proven for whom it calls (28000).
    Unproven,
    /// Gateway and database do not know each other's keys (F0000).
    Misconfigured,
    /// The object is not in the state this needs: lost lease, already released (55000).
    WrongState,
    /// No address is free (53400).
    Exhausted,
    /// No node fits (53000).
    NoNode,
    /// The answer would depend on what a concurrent transaction does: run it again (40001).
    Retry,
    /// lock_timeout passed before it was clear whether an address is free (55P03).
    TimedOut,
    /// The database has another version of the extension than the server's library (0A000).
    Outdated,
    /// A defect of the extension, or tables changed by hand (XX000).
    Internal,
}

impl Kind {
    fn sqlstate(self) -> PgSqlErrorCode {
        match self {
            Self::BadArgument => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::Missing => PgSqlErrorCode::ERRCODE_NO_DATA_FOUND,
            Self::Exists => PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
            Self::Unproven => PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
            Self::Misconfigured => PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
            Self::WrongState => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Exhausted => PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            Self::NoNode => PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
            Self::Retry => PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            Self::TimedOut => PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
            Self::Outdated => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::Internal => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        }
    }
}

/// A failure: its meaning, a sentence that names the object, and a hint on what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    kind: Kind,
    message: String,
    hint: String,
}

impl Error {
    /// `message` names the object and the problem, `hint` the remedy.
    pub(crate) fn new(kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: hint.into() }
    }

    /// Its meaning.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// An error of the most frequent kind.
    pub(crate) fn bad_argument(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Kind::BadArgument, message, hint)
    }

    /// Something that the extension's script guarantees is absent: the tables were changed by hand.
    pub(crate) fn corrupt_schema(what: &str) -> Self {
        Self::new(
            Kind::Internal,
            format!("pg_nebula read no {what}"),
            "Compare the tables with the extension's script.",
        )
    }
}

impl From<SpiError> for Error {
    fn from(error: SpiError) -> Self {
        Self::new(
            Kind::Internal,
            format!("pg_nebula could not run its own SQL: {error}"),
            "Report this with the server log.",
        )
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        Self::new(error.kind.sqlstate(), beginning(error.message), "pg_nebula")
            .set_hint(beginning(error.hint))
    }
}

/// Characters of a message: it may repeat an argument of any length, and the server's log keeps it.
const MESSAGE_LENGTH: usize = 2000;

fn beginning(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE_LENGTH) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Refuses NULL for an argument that has no default.
///
/// # Errors
/// [`Kind::BadArgument`] naming the argument.
pub(crate) fn required<T>(value: Option<T>, argument: &str) -> Result<T> {
    value.ok_or_else(|| {
        Error::bad_argument(format!("{argument} must not be null"), format!("Give a value for {argument}."))
    })
}

/// Refuses NULL elements of an array.
///
/// # Errors
/// [`Kind::BadArgument`] naming the argument.
pub(crate) fn required_elements<T>(values: Vec<Option<T>>, argument: &str) -> Result<Vec<T>> {
    let element = |value: Option<T>| match value {
        Some(value) => Ok(value),
        None => required(None, &format!("an element of {argument}")),
    };
    values.into_iter().map(element).collect()
}
