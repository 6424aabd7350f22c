//! The error of all commands, in the gateway's format: a code, a sentence, and a hint.

use std::io;
use std::process::ExitCode;

use nebula_api::Failure;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error of the gateway, or of this machine in the same format, so that scripts parse only one.
#[derive(Debug, thiserror::Error)]
#[error("{}", failure.detail)]
pub(crate) struct Error {
    failure: Box<Failure>,
    /// HTTP status, for errors of the gateway.
    pub(crate) status: Option<u16>,
    /// Standard output was closed, as by `| head`: the program ends without a message.
    pub(crate) broken_pipe: bool,
    /// The command line is wrong: the exit status is 2, as with errors of the parser.
    is_usage: bool,
}

/// Kinds of errors of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Code {
    /// No response, or none in time.
    Unreachable,
    /// No session, or an expired one.
    NotSignedIn,
    /// The named object does not exist.
    NotFound,
    /// An argument is invalid.
    InvalidArgument,
    /// An object that must not be replaced exists.
    AlreadyExists,
    /// Not possible in the present state.
    WrongState,
    /// The system refused access to a file or a process.
    Io,
    /// The other side does not follow the protocol.
    Protocol,
    /// Content is damaged.
    Damaged,
    /// The gateway refused a call of the agent protocol.
    Refused,
}

impl Code {
    /// Code and SQLSTATE, as the gateway has them.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Unreachable => ("unreachable", "08001"),
            Self::NotSignedIn => ("not_authenticated", "28000"),
            Self::NotFound => ("not_found", "P0002"),
            Self::InvalidArgument => ("invalid_argument", "22023"),
            Self::AlreadyExists => ("already_exists", "23505"),
            Self::WrongState => ("wrong_state", "55000"),
            Self::Io => ("io_error", "58030"),
            Self::Protocol => ("protocol_violation", "08P01"),
            Self::Damaged => ("data_corrupted", "XX001"),
            Self::Refused => ("refused", "42501"),
        }
    }
}

impl Error {
    /// An error of this machine.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let (error, sqlstate) = code.names();
        let failure = Failure {
            success: false,
            error: error.to_owned(),
            sqlstate: sqlstate.to_owned(),
            detail: detail.into(),
            hint: None,
            field: None,
            reason: None,
        };
        Self { failure: Box::new(failure), status: None, broken_pipe: false, is_usage: false }
    }

    /// An error of the gateway.
    pub(crate) fn answered(status: u16, failure: Failure) -> Self {
        Self { failure: Box::new(failure), status: Some(status), broken_pipe: false, is_usage: false }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.failure.hint = Some(hint.into());
        self
    }

    /// Names the object of a batch that the error is about.
    pub(crate) fn about(mut self, object: &str) -> Self {
        self.failure.detail = format!("{object}: {}", self.failure.detail);
        self
    }

    /// The command line is wrong, so that the same command fails until it is changed.
    pub(crate) fn usage(detail: impl Into<String>) -> Self {
        Self { is_usage: true, ..Self::new(Code::InvalidArgument, detail) }
    }

    /// 2 for wrong usage, else 1.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.is_usage { 2 } else { 1 })
    }

    /// For `--json`.
    pub(crate) fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Whether the account needs a code to sign in.
    pub(crate) fn wants_code(&self) -> bool {
        self.failure.reason.as_deref() == Some("second-factor")
    }

    /// Whether the named object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.failure.sqlstate == Code::NotFound.names().1
    }

    /// Whether the gateway refused the request, so that nothing has changed there.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status.is_some_and(|status| (400..500).contains(&status))
    }

    /// Whether a request may have been carried out all the same: the gateway did not answer, or something in
    /// front of it did, or it could not say. Not so after a refusal, or a 503 that has withdrawn the request.
    pub(crate) fn may_be_done(&self) -> bool {
        let Failure { sqlstate, .. } = &*self.failure;
        let is_unclear = matches!(sqlstate.as_str(), "08001" | "08P01");
        let is_withdrawn = matches!(sqlstate.as_str(), "53000" | "55000");
        is_unclear || (!is_withdrawn && self.status.is_some_and(|status| status >= 500))
    }
}

/// A malformed command-line argument: the reason, as clap shows it.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(String);

impl UsageError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Names the file or program that an error of the system is about.
pub(crate) trait Doing<T> {
    /// `what` completes "cannot …".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error {
            broken_pipe: error.kind() == io::ErrorKind::BrokenPipe,
            ..Error::new(Code::Io, format!("cannot {}: {}", what(), plain(&error)))
        })
    }
}

/// Without the number that std appends: "No such file or directory (os error 2)".
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_name_the_object_without_an_errno() {
        let error = std::fs::read("/does/not/exist").doing(|| "read /does/not/exist".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /does/not/exist: No such file or directory");
        assert_eq!(error.failure().sqlstate, "58030");
    }

    #[test]
    fn only_status_4xx_of_the_gateway_is_a_refusal() {
        let failure = Error::new(Code::NotFound, "no").failure().clone();
        assert!(Error::answered(404, failure.clone()).is_refusal());
        assert!(!Error::answered(503, failure).is_refusal());
        assert!(!Error::new(Code::Unreachable, "no").is_refusal());
    }

    #[test]
    fn only_an_answer_of_the_gateway_says_that_nothing_was_done() {
        let answered = |status, sqlstate: &str| {
            let failure =
                Failure { sqlstate: sqlstate.to_owned(), ..Error::new(Code::Io, "no").failure().clone() };
            Error::answered(status, failure).may_be_done()
        };
        for (status, sqlstate) in
            [(503, "08006"), (500, "XX000"), (503, "57P01"), (502, "08P01"), (408, "08P01")]
        {
            assert!(answered(status, sqlstate), "{status} {sqlstate}");
        }
        for (status, sqlstate) in
            [(503, "53000"), (503, "55000"), (409, "23505"), (200, "53000"), (401, "28000")]
        {
            assert!(!answered(status, sqlstate), "{status} {sqlstate}");
        }
        assert!(Error::new(Code::Unreachable, "no").may_be_done());
        assert!(!Error::new(Code::NotSignedIn, "no").may_be_done());
    }
}
