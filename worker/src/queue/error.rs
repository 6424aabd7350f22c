//! What the database made of a call.

use tokio_postgres::error::SqlState;

/// What the database made of a call.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Nobody knows whether it happened: no connection, or the server is stopping. Try again.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The job belongs to another attempt by now, or is finished.
    #[error("the lease of the job is lost")]
    LeaseLost,
    /// What the job works on was deleted meanwhile.
    #[error("{0}")]
    Gone(String),
    /// The database refused; trying the same again will not help.
    #[error("the database refused: {0}")]
    Refused(String),
}

impl From<tokio_postgres::Error> for QueueError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            let cause =
                std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            return Self::Unreachable(format!("{error}{cause}"));
        };
        let said = format!("{} ({})", refusal.message(), refusal.code().code());
        let code = refusal.code();
        if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE {
            Self::LeaseLost
        } else if *code == SqlState::NO_DATA_FOUND {
            Self::Gone(said)
        } else if is_passing(code) {
            Self::Unreachable(said)
        } else {
            Self::Refused(said)
        }
    }
}

/// Troubles that end by themselves: restarts, failovers, deadlocks, crowding, wrong passwords being put right.
fn is_passing(code: &SqlState) -> bool {
    let class = &code.code()[..2];
    matches!(class, "08" | "28" | "40" | "53" | "57" | "58")
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
        || *code == SqlState::UNDEFINED_DATABASE
}
