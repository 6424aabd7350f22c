//! The outcome of a database call that did not succeed.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// Why a database call did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueueError {
    /// No connection, or the server is stopping: it is unknown whether the call took effect. Try again.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// Another attempt owns the job, or it is finished.
    #[error("the lease of the job is lost")]
    LeaseLost,
    /// The object that the job is about was deleted.
    #[error("{0}")]
    Gone(String),
    /// The database refused; the same call will be refused again.
    #[error("the database refused: {0}")]
    Refused(String),
}

impl From<tokio_postgres::Error> for QueueError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db_error) = error.as_db_error() else {
            let cause =
                std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            return Self::Unreachable(format!("{error}{cause}"));
        };
        let message = format!("{} ({})", db_error.message(), db_error.code().code());
        let code = db_error.code();
        if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE {
            Self::LeaseLost
        } else if *code == SqlState::NO_DATA_FOUND {
            Self::Gone(message)
        } else if is_transient(code) {
            Self::Unreachable(message)
        } else {
            Self::Refused(message)
        }
    }
}

/// Errors that end without a change on our side: restart, failover, deadlock, too many connections, a
/// password that is being changed.
fn is_transient(code: &SqlState) -> bool {
    let class = &code.code()[..2];
    matches!(class, "08" | "28" | "40" | "53" | "57" | "58")
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
        || *code == SqlState::UNDEFINED_DATABASE
}

impl From<PoolError> for QueueError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            other => Self::Unreachable(other.to_string()),
        }
    }
}
