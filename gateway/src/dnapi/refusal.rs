//! Refusals in the shape that clients of the protocol read: `{"errors":[…]}`.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use nebula_api::dnapi::{self, ApiErrors, HOST_BLOCKED, INVALID_VALUE};
use nebula_api::node::NODE_SIGNATURE;

use crate::ApiError;
use crate::error::{NOT_AUTHENTICATED, NOT_FOUND, WRONG_STATE};

/// A refused enrolment or call.
#[derive(Debug)]
pub struct Refusal {
    error: Box<ApiError>,
    code: Option<&'static str>,
    path: &'static str,
}

impl Refusal {
    /// What is wrong with one field.
    pub(super) fn field(path: &'static str, error: ApiError) -> Self {
        Self { error: Box::new(error), code: Some(INVALID_VALUE), path }
    }

    /// 401: whoever calls is not, or no longer, who it says.
    pub(super) fn unauthenticated(reason: &str) -> Self {
        ApiError::new(NOT_AUTHENTICATED, reason).hint("Use the newest credentials, or enrol again.").into()
    }

    /// 401: the device is who it says, and does not prove that it speaks for its node.
    pub(super) fn of_node(reason: &str) -> Self {
        let hint = "Give the device the newest secret of its node: nebulactl node secret keep.";
        Self::of_node_call(ApiError::new(NOT_AUTHENTICATED, reason).hint(hint))
    }

    /// What `accept_node_call` means by its errors.
    pub(super) fn of_node_call(error: ApiError) -> Self {
        let code = (error.meaning() == NOT_AUTHENTICATED).then_some(NODE_SIGNATURE);
        Self { error: Box::new(error), code, path: "" }
    }

    /// What `enroll_device` means by its errors.
    pub(super) fn of_enrolment(error: ApiError) -> Self {
        match error.meaning() {
            NOT_FOUND => Self::field("code", error),
            WRONG_STATE => Self { error: Box::new(error), code: Some(HOST_BLOCKED), path: "" },
            _ => error.into(),
        }
    }

    /// Whether nothing but the credentials was wrong.
    pub(super) fn is_unauthenticated(&self) -> bool {
        self.error.meaning() == NOT_AUTHENTICATED
    }

    /// Whether the enrolment code was wrong.
    pub(super) fn is_wrong_code(&self) -> bool {
        self.path == "code"
    }

    /// The sentence, for the record.
    pub(super) fn reason(&self) -> String {
        self.error.failure().detail
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

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.error.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let failure = self.error.failure();
        let code = self.code.map_or_else(|| format!("ERR_{}", failure.error.to_uppercase()), str::to_owned);
        let message = match failure.hint {
            Some(hint) => format!("{}. {hint}", failure.detail),
            None => failure.detail,
        };
        let body = ApiErrors { errors: vec![dnapi::ApiError { code, message, path: self.path.to_owned() }] };
        let text = serde_json::to_string(&body).unwrap_or_default();
        // With the headers it has anyhow: when to try again.
        self.error.error_response().set_body(BoxBody::new(text))
    }
}
