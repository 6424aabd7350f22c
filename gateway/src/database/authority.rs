//! Authorities: recorded, adopted by projects, trusted.

use deadpool_postgres::GenericClient;
use nebula_api::authority::Authority;
use nebula_certificate::{Certificate, Fingerprint};
use serde::Deserialize;
use uuid::Uuid;

use super::certificate::time;
use super::{each, one, rows};
use crate::ApiError;

/// An authority the devices of a project trust.
#[derive(Debug, Deserialize)]
pub struct Trusted {
    fingerprint: String,
    /// Whether new certificates are signed by it.
    pub signs: bool,
    /// Whether what agents are told is signed by it.
    pub speaks: bool,
    pem: String,
}

impl Trusted {
    /// Its fingerprint.
    ///
    /// # Errors
    /// 500; the database writes 64 hexadecimal digits.
    pub fn fingerprint(&self) -> Result<Fingerprint, ApiError> {
        let mut bytes = Fingerprint::default();
        hex::decode_to_slice(&self.fingerprint, &mut bytes).map_err(|error| ApiError::internal(&error))?;
        Ok(bytes)
    }

    /// Its certificate.
    ///
    /// # Errors
    /// 500; only what was read as a certificate was recorded.
    pub fn certificate(&self) -> Result<Certificate, ApiError> {
        let parsed = Certificate::parse(&self.pem).map_err(|error| ApiError::internal(&error))?;
        parsed.into_iter().next().ok_or_else(|| ApiError::internal(&"an authority without a certificate"))
    }
}

/// Makes an authority known.
///
/// # Errors
/// Those of the database.
pub async fn record(client: &impl GenericClient, authority: &Certificate) -> Result<(), ApiError> {
    let details = authority.details();
    let sql = "SELECT nebula.record_authority($1, $2, $3, $4, $5, $6, $7)";
    one(
        client,
        sql,
        &[
            &authority.fingerprint().as_slice(),
            &details.name,
            &crate::authority::curve_name(details.curve),
            &i16::from(details.version.number()),
            &time(details.not_before),
            &time(details.not_after),
            &authority.pem(),
        ],
    )
    .await
    .map(drop)
}

/// Gives a project that has none its first authority.
///
/// # Errors
/// 404 no such project.
pub async fn adopt(
    client: &impl GenericClient,
    project_id: Uuid,
    fingerprint: &Fingerprint,
) -> Result<(), ApiError> {
    one(client, "SELECT nebula.adopt_authority($1, $2)", &[&project_id, &fingerprint.as_slice()])
        .await
        .map(drop)
}

/// Every authority known, the one that expires first on top.
///
/// # Errors
/// 403 not an administrator.
pub async fn list(client: &impl GenericClient, actor: Uuid) -> Result<Vec<Authority>, ApiError> {
    each(&rows(client, "SELECT * FROM nebula.list_authorities($1)", &[&actor]).await?, |row| {
        Ok(Authority {
            fingerprint: row.try_get("fingerprint")?,
            name: row.try_get("name")?,
            curve: row.try_get("curve")?,
            version: row.try_get("version")?,
            not_before: row.try_get("not_before")?,
            not_after: row.try_get("not_after")?,
            days_left: row.try_get("days_left")?,
            projects: row.try_get("projects")?,
            warning: row.try_get("warning")?,
        })
    })
}
