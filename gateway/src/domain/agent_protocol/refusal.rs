//! Refusals in the form that clients of the protocol read: `{"errors":[…]}`.

use std::fmt;

use nebula_api::dnapi::{self, ApiErrors, HOST_BLOCKED, INVALID_VALUE};
use nebula_api::node::NODE_SIGNATURE;

use crate::error::{ApiError, NOT_AUTHENTICATED, NOT_FOUND, WRONG_STATE};

/// A refused enrolment or call.
#[derive(Debug)]
pub(crate) struct Refusal {
    error: Box<ApiError>,
    code: Option<&'static str>,
    /// The field at fault, or empty.
    path: &'static str,
}

impl Refusal {
    /// One field is wrong.
    pub(crate) fn field(path: &'static str, error: ApiError) -> Self {
        Self { error: Box::new(error), code: Some(INVALID_VALUE), path }
    }

    /// 401: the credentials of the device are wrong or not valid any more.
    pub(super) fn unauthenticated(reason: &str) -> Self {
        ApiError::new(NOT_AUTHENTICATED, reason).hint("Use the newest credentials, or enrol again.").into()
    }

    /// 401: the device is authenticated, but does not prove that it represents its node.
    pub(super) fn of_node(reason: &str) -> Self {
        let hint = "Give the device the newest secret of its node: nebulactl node secret keep.";
        Self::of_node_call(ApiError::new(NOT_AUTHENTICATED, reason).hint(hint))
    }

    /// An error of `accept_node_call`.
    pub(super) fn of_node_call(error: ApiError) -> Self {
        let code = (error.meaning() == NOT_AUTHENTICATED).then_some(NODE_SIGNATURE);
        Self { error: Box::new(error), code, path: "" }
    }

    /// An error of `enroll_device`.
    pub(super) fn of_enrolment(error: ApiError) -> Self {
        match error.meaning() {
            NOT_FOUND => Self::field("code", error),
            WRONG_STATE => Self { error: Box::new(error), code: Some(HOST_BLOCKED), path: "" },
            _ => error.into(),
        }
    }

    pub(crate) fn is_unauthenticated(&self) -> bool {
        self.error.meaning() == NOT_AUTHENTICATED
    }

    pub(super) fn is_wrong_code(&self) -> bool {
        self.path == "code"
    }

    pub(super) fn is_callers_fault(&self) -> bool {
        (400..500).contains(&self.error.meaning().status)
    }

    /// The sentence, for the record.
    pub(super) fn reason(&self) -> String {
        self.error.failure().detail
    }

    /// Status and headers of the response are those of this error.
    pub(crate) fn error(&self) -> &ApiError {
        &self.error
    }

    /// The body of the response.
    pub(crate) fn body(&self) -> ApiErrors {
        let failure = self.error.failure();
        let code = self.code.map_or_else(|| format!("ERR_{}", failure.error.to_uppercase()), str::to_owned);
        let message = match failure.hint {
            Some(hint) => format!("{}. {hint}", failure.detail),
            None => failure.detail,
        };
        ApiErrors { errors: vec![dnapi::ApiError { code, message, path: self.path.to_owned() }] }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { error: Box::new(error), code: None, path: "" }
    }
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Self {
        ApiError::from(error).into()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}
