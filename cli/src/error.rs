//! What can go wrong, in the gateway's own shape: a code, one sentence, and what to do about it.

use std::io;

use nebula_api::Failure;

/// Result of everything here.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A failure of the gateway, or one of this machine told in the same words, so that scripts read one form only.
#[derive(Debug, thiserror::Error)]
#[error("{}", failure.detail)]
pub(crate) struct Error {
    failure: Box<Failure>,
    /// HTTP status when it is the gateway's answer.
    pub(crate) status: Option<u16>,
    /// The reader of our output is gone, as with `| head`: a reason to stop, none to complain.
    pub(crate) broken_pipe: bool,
}

/// Meaning of a failure found on this side.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Code {
    /// No answer, or none in time.
    Unreachable,
    /// No session, or one that has ended.
    NotSignedIn,
    /// What was named does not exist.
    NotFound,
    /// What was given cannot be right.
    InvalidArgument,
    /// Something of another kind stands where we would write.
    AlreadyExists,
    /// Cannot be done in the present state.
    WrongState,
    /// The system refused a file, a folder, a process.
    Io,
    /// The other side does not speak our protocol.
    Protocol,
    /// Content is not what it should be.
    Damaged,
    /// The gateway said no in the words of the agent protocol.
    Refused,
}

impl Code {
    /// Code and SQLSTATE, as the gateway spells them.
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
    /// A failure found on this side.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let (error, sqlstate) = code.names();
        let failure = Failure {
            success: false,
            error: error.to_owned(),
            sqlstate: sqlstate.to_owned(),
            detail: detail.into(),
            hint: None,
        };
        Self { failure: Box::new(failure), status: None, broken_pipe: false }
    }

    /// What the gateway answered.
    pub(crate) fn answered(status: u16, failure: Failure) -> Self {
        Self { failure: Box::new(failure), status: Some(status), broken_pipe: false }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.failure.hint = Some(hint.into());
        self
    }

    /// For `--json`.
    pub(crate) fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Whether the gateway understood and said no, so that nothing has changed there.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status.is_some_and(|status| (400..500).contains(&status))
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

/// Says which file or program an error of the system is about.
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
    fn system_errors_name_the_object_and_no_number() {
        let error = std::fs::read("/does/not/exist").doing(|| "read /does/not/exist".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /does/not/exist: No such file or directory");
        assert_eq!(error.failure().sqlstate, "58030");
    }

    #[test]
    fn only_the_gateways_no_is_a_refusal() {
        let failure = Error::new(Code::NotFound, "no").failure().clone();
        assert!(Error::answered(404, failure.clone()).is_refusal());
        assert!(!Error::answered(503, failure).is_refusal());
        assert!(!Error::new(Code::Unreachable, "no").is_refusal());
    }
}
