//! A device asks to be let in, and an administrator approves it: `POST /v1/endpoint-auth/preauth`,
//! `GET /v1/endpoint-auth/poll`, `POST /api/enrolments/approve`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Answer of `preauth`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PreAuth {
    /// Secret of the device, by which it asks for the answer.
    pub poll_token: String,
    /// Carries the number of the request to an administrator.
    #[serde(rename = "loginURL")]
    pub login_url: String,
}

/// State of a request; in JSON in capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum PreAuthState {
    /// Nobody has approved it.
    Waiting,
    /// The code is good.
    Completed,
}

/// Answer of `poll`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PreAuthPoll {
    /// State of the request.
    pub state: PreAuthState,
    /// The code for `/v2/enroll`; empty until the request is approved.
    pub enrollment_code: String,
}

/// Answer of `POST /api/enrolments/approve`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Identifier, to list and revoke it.
    pub enrolment_id: Uuid,
    /// Until then the device can join.
    pub expires_at: DateTime<Utc>,
}

/// Query of `poll`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreAuthQuery {
    /// Secret of the device.
    pub poll_token: String,
}

/// Query of `POST /api/enrolments/approve`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApproveQuery {
    /// Number of the request.
    pub request: String,
}
