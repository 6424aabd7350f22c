//! Invitations, by which people make an account of their own or join a project: `/api/invitations`,
//! `/api/projects/{projectId}/invitations`.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Body of `POST /api/projects/{projectId}/invitations` and `POST /api/invitations`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InvitationRequest {
    /// Into a project: `viewer`, `member`, `admin` or `owner`; else the role of the account, `admin` or `member`.
    pub role: String,
    /// Validity; a week when absent, 30 days at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_seconds: Option<i32>,
    /// Reminder of the inviter, for whom it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An invitation that was just made. The code cannot be read again: only its hash is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewInvitation {
    /// Identifier, to list and revoke it.
    pub invitation_id: Uuid,
    /// The code, good for one person; dashes and letter case do not matter.
    pub code: String,
    /// The page on which the person accepts, with the code behind `#`, which browsers do not send.
    pub url: String,
    /// End of its validity.
    pub expires_at: DateTime<Utc>,
}

/// An invitation as lists show it: everything but the code.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// Identifier.
    pub invitation_id: Uuid,
    /// Project to join; null: an account without one.
    pub project_id: Option<Uuid>,
    /// Role in the project, or of the account.
    pub role: String,
    /// Reminder of the inviter.
    pub note: Option<String>,
    /// `open`, `accepted`, `revoked` or `expired`.
    pub state: String,
    /// Name of the account that invites.
    pub invited_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// End of its validity.
    pub expires_at: DateTime<Utc>,
    /// When it was accepted.
    pub accepted_at: Option<DateTime<Utc>>,
    /// Name of the account that accepted it.
    pub accepted_by: Option<String>,
}

/// Body of `POST /api/invitations/show` and `POST /api/invitations/join`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct InvitationCode {
    /// The code of the link.
    pub code: String,
}

/// Answer of `POST /api/invitations/show`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OpenInvitation {
    /// Name of the project to join; null: an account without one.
    pub project: Option<String>,
    /// Role in the project, or of the account.
    pub role: String,
    /// Name of the account that invites.
    pub invited_by: String,
    /// End of its validity.
    pub expires_at: DateTime<Utc>,
}

/// Body of `POST /api/invitations/accept`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AcceptInvitation {
    /// The code of the link.
    pub code: String,
    /// Sign-in name of the account to make, lower case.
    pub username: String,
    /// Its password, of 8 characters at least.
    pub password: String,
}

/// Answer of `POST /api/invitations/accept`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AcceptedInvitation {
    /// The account that was made; it signs in as every other one.
    pub account_id: Uuid,
}

/// Answer of `POST /api/invitations/join`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct JoinedProject {
    /// The project that the caller is a member of now.
    pub project_id: Uuid,
}

// Secrets must not reach a log through a stray `{:?}`.
impl fmt::Debug for InvitationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvitationCode").finish_non_exhaustive()
    }
}

impl fmt::Debug for AcceptInvitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptInvitation").field("username", &self.username).finish_non_exhaustive()
    }
}
