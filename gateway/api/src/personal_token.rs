//! `/api/account/tokens`: personal tokens, by which programs act for an account.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Body of `POST /api/account/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CreatePersonalToken {
    /// 1 to 63 letters, digits, spaces, dots, underscores and dashes; no two tokens of an account have the same.
    pub name: String,
    /// `read`, `write`, `admin`, or actions such as `file.write`; a token never may do more than its account.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 100))]
    pub scopes: Vec<String>,
    /// Days until it ends: 1 to 3650, 90 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 3650))]
    pub days: Option<u32>,
}

/// A new token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NewPersonalToken {
    /// The token itself, for the header `Authorization: Bearer`. It cannot be shown again.
    pub token: String,
    /// The entry by which it is known from now on.
    #[serde(flatten)]
    pub entry: PersonalToken,
}

/// Without the token, which must not get into a log.
impl std::fmt::Debug for NewPersonalToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewPersonalToken").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// A token of an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PersonalToken {
    /// Identifier of the token, which is no secret.
    pub token_id: Uuid,
    /// Its name.
    pub name: String,
    /// Scopes as they were asked for.
    pub scopes: Vec<String>,
    /// Actions that they allow, as far as the roles of the account do.
    pub actions: Vec<String>,
    /// When it was made.
    pub made_at: DateTime<Utc>,
    /// It is refused from then on.
    pub expires_at: DateTime<Utc>,
    /// When it was last used, to within some ten minutes.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Address of the client that used it then.
    pub last_used_from: Option<String>,
}
