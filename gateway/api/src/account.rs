//! Accounts: `/api/accounts`, `/api/account` (one's own), their sessions (`/api/sessions`), and members of projects
//! (`/api/projects/{projectId}/members`).

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An account that signs in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Identifier of the account.
    pub account_id: Uuid,
    /// Sign-in name.
    pub username: String,
    /// `admin`: operator, who may do everything; `member`: what the roles in its projects allow.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::AccountRole))]
    pub role: String,
    /// Set: it may not sign in or act any more.
    pub disabled_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last signed in or got a new access token.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Open sessions.
    pub sessions: i32,
}

/// Body of `PATCH /api/accounts/{id}`; what is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccountChanges {
    /// `admin` or `member`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::word::AccountRole>))]
    pub role: Option<String>,
    /// Whether it may neither sign in nor act; true ends its sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Body of `PUT /api/account/password`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PasswordChange {
    /// The password of now.
    pub old_password: String,
    /// That from now on, of 8 characters at least.
    pub new_password: String,
}

// Secrets must not reach a log through a stray `{:?}`.
impl fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordChange").finish_non_exhaustive()
    }
}

/// An open session: one sign-in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Identifier of the session.
    pub session_id: Uuid,
    /// Whether it is that of this very request.
    #[serde(default)]
    pub current: bool,
    /// Address of the client at sign-in.
    pub client: Option<String>,
    /// Program at sign-in, as it named itself.
    pub user_agent: Option<String>,
    /// When the account signed in.
    pub opened_at: DateTime<Utc>,
    /// When it last got a new access token.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// No new access token after this.
    pub expires_at: DateTime<Utc>,
}

/// A member of a project.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Identifier of the account.
    pub account_id: Uuid,
    /// Its sign-in name.
    pub username: String,
    /// `viewer`, `member`, `admin` or `owner`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::ProjectRole))]
    pub role: String,
    /// Since when it is a member.
    pub added_at: DateTime<Utc>,
    /// Whether the account is disabled.
    pub disabled: bool,
}

/// Body of `PUT /api/projects/{projectId}/members`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SetMember {
    /// Sign-in name of the account.
    pub username: String,
    /// `viewer`, `member`, `admin` or `owner`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::ProjectRole))]
    pub role: String,
}
