//! What PostgreSQL said, turned into what the caller is told.

use deadpool_postgres::PoolError;
use tokio_postgres::error::DbError;

use super::{
    ApiError, BAD_ARGUMENT, CONFLICT, DISK_FULL, MEANINGS, NOT_AUTHENTICATED, NOT_PERMITTED, UNAVAILABLE,
};

/// Errors of statements.
impl From<tokio_postgres::Error> for ApiError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => translate(&said.into()),
            // Not an answer of the server: either the connection broke, or the gateway and the schema disagree.
            None if error.is_closed() || std::error::Error::source(&error).is_some_and(is_io) => {
                Self::unavailable("database", &error)
            }
            None => Self::internal(&with_source(&error)),
        }
    }
}

/// Errors of getting a connection: always the set-up, never the caller, whatever SQLSTATE the server gave.
impl From<PoolError> for ApiError {
    fn from(error: PoolError) -> Self {
        Self::unavailable("database", &with_source(&error))
    }
}

/// The parts of a server's error that matter. Its DETAIL is not among them: it may quote whole rows.
struct Said<'a> {
    sqlstate: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    /// The constraint or column that was violated.
    rule: Option<&'a str>,
}

impl<'a> From<&'a DbError> for Said<'a> {
    fn from(error: &'a DbError) -> Self {
        Self {
            sqlstate: error.code().code(),
            message: error.message(),
            hint: error.hint(),
            rule: error.constraint().or(error.column()),
        }
    }
}

/// A `nebula.*` function speaks to the caller, and always gives a hint; PostgreSQL's own complaints are translated.
fn translate(said: &Said<'_>) -> ApiError {
    let Said { sqlstate, message, .. } = *said;
    let known = MEANINGS.into_iter().find(|meaning| meaning.sqlstate == sqlstate);
    match (known, said.hint) {
        (Some(meaning), Some(hint)) => ApiError::new(meaning, message).hint(hint),
        // "permission denied for function …" means that the gateway's role lacks a grant: no fault of the caller.
        (Some(meaning), None) if meaning == NOT_PERMITTED || meaning == NOT_AUTHENTICATED => foreign(said),
        (Some(CONFLICT), None) => {
            ApiError::new(CONFLICT, format!("that exists already ({})", said.rule.unwrap_or("unique")))
        }
        (Some(meaning), None) => ApiError::new(meaning, message),
        (None, _) => foreign(said),
    }
}

/// Errors that no `nebula.*` function raises on purpose.
fn foreign(said: &Said<'_>) -> ApiError {
    let Said { sqlstate, message, .. } = *said;
    let error = match (sqlstate, sqlstate.get(..2).unwrap_or_default()) {
        ("23514" | "23502", _) => {
            let rule = said.rule.unwrap_or("a rule of the database");
            ApiError::new(BAD_ARGUMENT, format!("a value is not allowed by {rule}")).hint(rule_hint(rule))
        }
        ("23503", _) => ApiError::new(CONFLICT, "something this refers to was removed meanwhile")
            .hint("Look again and repeat the request."),
        (_, "22") => ApiError::new(BAD_ARGUMENT, message),
        ("53100", _) => {
            tracing::error!(error = message, "the database's disk is full");
            ApiError::new(DISK_FULL, "the database's disk is full").hint("Make room on the disk.")
        }
        // Server full, stopping or starting, a standby, a statement cut off, a lock not had in time, a lost race.
        ("53300" | "57P01" | "57P02" | "57P03" | "57014" | "25006" | "55P03" | "40001" | "40P01", _)
        | (_, "08") => {
            tracing::warn!(sqlstate, error = message, "the database could not do it just now");
            ApiError::new(UNAVAILABLE, "the database could not do this just now")
                .hint("Try again in a moment.")
        }
        // No such function, schema or table, or one that answers other columns than it did.
        ("42883" | "3F000" | "42P01" | "0A000", _) => {
            tracing::error!(
                sqlstate,
                error = message,
                "the extension in the database does not fit this gateway"
            );
            ApiError::new(UNAVAILABLE, "the database has no pg_nebula, or one that does not fit this gateway")
                .hint(
                    "Run CREATE EXTENSION pg_nebula or ALTER EXTENSION pg_nebula UPDATE as an administrator, \
                 then restart the gateway.",
                )
        }
        _ => return ApiError::internal(&format!("SQLSTATE {sqlstate}: {message}")),
    };
    error.sqlstate(sqlstate)
}

/// Words for the rules a caller can break.
fn rule_hint(rule: &str) -> &'static str {
    match rule {
        "device_name_check" => "A device name has 1 to 63 letters, digits, dots, underscores or dashes.",
        "file_name_check" => "A file name has 1 to 255 bytes, no slash and no control characters.",
        "device_lighthouse_check" => "A lighthouse needs at least one endpoint, host:port.",
        "project_sync_check" => {
            "syncPendingKib goes from 16384 to 4194304, syncHashers to 256, syncWrites to 64, syncConnections to 128; \
             syncOrder is standard, random or inOrder."
        }
        "account_username_check" => {
            "A username has 1 to 63 characters of a-z, 0-9 and . _ @ -, and begins with a letter or digit."
        }
        _ => "See the description of the object in the database: \\d+ in psql shows it.",
    }
}

fn is_io(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<std::io::Error>()
}

/// tokio_postgres says only "error connecting to server"; the reason is one level down.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(sqlstate: &str, hint: Option<&str>) -> (u16, String) {
        let said = Said { sqlstate, message: "words", hint, rule: Some("device_name_check") };
        let error = translate(&said);
        (error.meaning().status, error.failure().sqlstate)
    }

    #[test]
    fn each_sqlstate_of_the_design_has_its_status() {
        for (sqlstate, wanted) in [
            ("22023", 400),
            ("28000", 401),
            ("42501", 403),
            ("P0002", 404),
            ("23505", 409),
            ("55000", 409),
            ("53400", 507),
            ("53000", 503),
            ("54000", 429),
        ] {
            assert_eq!(status(sqlstate, Some("do that")), (wanted, sqlstate.to_owned()), "{sqlstate}");
        }
    }

    #[test]
    fn what_postgresql_says_by_itself_is_translated() {
        for (sqlstate, wanted) in [
            ("22P02", 400),
            ("22001", 400),
            ("23514", 400),
            ("23503", 409),
            ("57P01", 503),
            ("57014", 503),
            ("25006", 503),
            ("40P01", 503),
            ("53300", 503),
            ("08006", 503),
            ("42883", 503),
            ("53100", 507),
        ] {
            assert_eq!(status(sqlstate, None), (wanted, sqlstate.to_owned()), "{sqlstate}");
        }
        // A missing grant is a fault of the set-up, not of the caller.
        for sqlstate in ["42501", "28000", "XX000", "42601", "P0001"] {
            assert_eq!(status(sqlstate, None), (500, "XX000".to_owned()), "{sqlstate}");
        }
    }

    #[test]
    fn the_caller_reads_the_words_and_hint_of_our_functions_and_no_internals() {
        let said = Said { sqlstate: "53400", message: "pool is full", hint: Some("Add a pool."), rule: None };
        let failure = translate(&said).failure();
        assert_eq!((failure.error.as_str(), failure.detail.as_str()), ("pool_exhausted", "pool is full"));
        assert_eq!(failure.hint.as_deref(), Some("Add a pool."));
        let said = Said { sqlstate: "XX000", message: "cache lookup failed", hint: None, rule: None };
        assert!(!translate(&said).failure().detail.contains("cache"));
    }
}
