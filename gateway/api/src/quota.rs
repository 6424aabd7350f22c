//! Quotas: `GET /api/quotas`, `PUT /api/quotas/{subject}/{id}`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Bytes that a project or an account stores, and may store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// `project` or `account`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::word::QuotaSubject))]
    pub subject: String,
    /// Identifier of the project or account.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Bytes of uploads and of all that was made from them.
    pub used_bytes: i64,
    /// The most that it may store; absent: any number.
    pub max_bytes: Option<i64>,
}

/// Body of `PUT /api/quotas/{subject}/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SetQuota {
    /// Bytes; null: any number.
    pub max_bytes: Option<i64>,
}
