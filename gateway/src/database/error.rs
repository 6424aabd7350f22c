//! Errors of PostgreSQL as failures of a request.

use deadpool_postgres::PoolError;
use tokio_postgres::error::DbError;

use crate::error::{
    ApiError, BAD_ARGUMENT, CONFLICT, DISK_FULL, MEANINGS, NOT_AUTHENTICATED, NOT_PERMITTED, UNAVAILABLE,
    with_source,
};

/// Errors of statements.
impl From<tokio_postgres::Error> for ApiError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(error) => translate(&error.into()),
            // Not an answer of the server: either the connection broke, or the gateway and the schema
            // disagree.
            None if error.is_closed() || std::error::Error::source(&error).is_some_and(is_io) => {
                Self::unavailable("database", &error)
            }
            None => Self::internal(&with_source(&error)),
        }
    }
}

/// Errors of getting a connection. They are faults of the set-up, never of the caller, so the SQLSTATE is not
/// looked at.
impl From<PoolError> for ApiError {
    fn from(error: PoolError) -> Self {
        Self::unavailable("database", &with_source(&error))
    }
}

/// The parts of a server's error that are used. DETAIL is not, because it may quote whole rows.
struct ServerError<'a> {
    sqlstate: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    /// The value at fault, as the API calls it: a `nebula.*` function names it as COLUMN.
    field: Option<&'a str>,
    /// The constraint or column that was violated.
    rule: Option<&'a str>,
}

impl<'a> From<&'a DbError> for ServerError<'a> {
    fn from(error: &'a DbError) -> Self {
        Self {
            sqlstate: error.code().code(),
            message: error.message(),
            hint: error.hint(),
            field: error.column().filter(|_| error.hint().is_some()),
            rule: error.constraint().or(error.column()),
        }
    }
}

/// A `nebula.*` function always gives a hint, and its message is meant for the caller. Without a hint the
/// message is PostgreSQL's own, and is replaced where it would show internals.
fn translate(error: &ServerError<'_>) -> ApiError {
    let ServerError { sqlstate, message, .. } = *error;
    let known = MEANINGS.into_iter().find(|meaning| meaning.sqlstate == sqlstate);
    match (known, error.hint) {
        // Which end it was, the exchange of the refresh token says.
        (Some(NOT_AUTHENTICATED), Some(hint)) => {
            ApiError::new(NOT_AUTHENTICATED, message).hint(hint).reason("ended")
        }
        (Some(meaning), Some(hint)) => {
            let failure = ApiError::new(meaning, message).hint(hint);
            match error.field {
                Some(field) => failure.field(field),
                None => failure,
            }
        }
        // "permission denied for function …" means that the gateway's role lacks a grant, not that the caller
        // does.
        (Some(meaning), None) if meaning == NOT_PERMITTED || meaning == NOT_AUTHENTICATED => foreign(error),
        (Some(CONFLICT), None) => {
            ApiError::new(CONFLICT, format!("that exists already ({})", error.rule.unwrap_or("unique")))
        }
        (Some(meaning), None) => ApiError::new(meaning, message),
        (None, _) => foreign(error),
    }
}

/// Errors that no `nebula.*` function raises on purpose.
fn foreign(error: &ServerError<'_>) -> ApiError {
    let ServerError { sqlstate, message, .. } = *error;
    let error = match (sqlstate, sqlstate.get(..2).unwrap_or_default()) {
        ("23514" | "23502", _) => {
            let rule = error.rule.unwrap_or("a rule of the database");
            ApiError::new(BAD_ARGUMENT, format!("a value is not allowed by {rule}")).hint(rule_hint(rule))
        }
        ("23503", _) => ApiError::new(CONFLICT, "something this refers to was removed meanwhile")
            .hint("Look again and repeat the request."),
        (_, "22") => ApiError::new(BAD_ARGUMENT, message),
        ("53100", _) => {
            tracing::error!(error = message, "the database's disk is full");
            ApiError::new(DISK_FULL, "the database's disk is full").hint("Make room on the disk.")
        }
        // Server full, stopping or starting, a standby, statement timeout, lock timeout, serialization
        // failure, deadlock.
        ("53300" | "57P01" | "57P02" | "57P03" | "57014" | "25006" | "55P03" | "40001" | "40P01", _)
        | (_, "08") => {
            tracing::warn!(sqlstate, error = message, "the database could not do it just now");
            ApiError::new(UNAVAILABLE, "the database could not do this just now")
                .hint("Try again in a moment.")
        }
        ("F0000", _) => {
            tracing::error!(error = message, "the database does not accept the tokens of this gateway");
            ApiError::new(UNAVAILABLE, "the database does not accept the tokens of this gateway").hint(
                "An administrator registers its key: NEBULA_DATABASE_URL=… nebula-gateway token-key --register. \
                 The clocks of gateway and database must agree.",
            )
        }
        // No such function, schema or table, or a function whose result columns changed.
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

/// A hint for each constraint that a caller can violate.
fn rule_hint(rule: &str) -> &'static str {
    match rule {
        "enrolment_role_check" | "device_role_check" => "Roles are host, lighthouse and relay.",
        "enrolment_name_check" | "device_name_check" => {
            "A device name has 1 to 63 letters, digits, dots, underscores or dashes."
        }
        "file_name_check" => "A file name has 1 to 255 bytes, no slash and no control characters.",
        "device_lighthouse_check" => "A lighthouse needs at least one endpoint, host:port.",
        "project_mtu_check" => "mtu goes from 576 to 9001.",
        "project_dns_check" => "dnsPort goes from 1 to 65535; 0 switches DNS off.",
        "project_domain_check" => "dnsDomain is a domain in small letters, such as home.arpa.",
        "project_lifetime_check" => "lifetimeSeconds goes from a minute to ten years.",
        "project_versions_check" => "certificateVersions is 1, 2 or 1,2.",
        "project_cipher_check" => "cipher is aes or chachapoly.",
        "project_stance_check" => "inbound and outbound are open or closed.",
        "project_sync_check" => {
            "syncPendingKib goes from 16384 to 4194304, syncHashers to 256, syncWrites to 64, \
             syncConnections to 128; syncOrder is standard, random or inOrder."
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

#[cfg(test)]
mod tests {
    use super::*;

    fn status(sqlstate: &str, hint: Option<&str>) -> (u16, String) {
        let error =
            ServerError { sqlstate, message: "words", hint, field: None, rule: Some("device_name_check") };
        let error = translate(&error);
        (error.meaning().status, error.failure().sqlstate)
    }

    #[test]
    fn each_sqlstate_of_our_functions_has_its_status() {
        for (sqlstate, wanted) in [
            ("22023", 400),
            ("28000", 401),
            ("42501", 403),
            ("P0002", 404),
            ("23505", 409),
            ("55000", 409),
            ("53400", 507),
            ("53Q00", 507),
            ("53Q01", 413),
            ("53000", 503),
            ("54000", 429),
        ] {
            assert_eq!(status(sqlstate, Some("do that")), (wanted, sqlstate.to_owned()), "{sqlstate}");
        }
    }

    #[test]
    fn errors_of_postgresql_itself_are_translated() {
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
            ("F0000", 503),
            ("53100", 507),
        ] {
            assert_eq!(status(sqlstate, None), (wanted, sqlstate.to_owned()), "{sqlstate}");
        }
        // A missing grant is a fault of the set-up.
        for sqlstate in ["42501", "28000", "XX000", "42601", "P0001"] {
            assert_eq!(status(sqlstate, None), (500, "XX000".to_owned()), "{sqlstate}");
        }
    }

    #[test]
    fn callers_read_the_message_and_hint_of_our_functions_but_no_internals() {
        let raised = |sqlstate, message, hint| ServerError {
            sqlstate,
            message,
            hint,
            field: Some("pool"),
            rule: None,
        };
        let failure = translate(&raised("53400", "pool is full", Some("Add a pool."))).failure();
        assert_eq!((failure.error.as_str(), failure.detail.as_str()), ("pool_exhausted", "pool is full"));
        assert_eq!(failure.hint.as_deref(), Some("Add a pool."));
        assert_eq!(failure.field.as_deref(), Some("pool"));
        let error = raised("XX000", "cache lookup failed", None);
        assert!(!translate(&error).failure().detail.contains("cache"));
    }
}
