//! Authorities: recorded, adopted by projects, trusted by devices.

use chrono::{DateTime, Utc};
use ipnetwork::IpNetwork;
use nebula_api::authority::Authority;
use nebula_certificate::{Certificate, Fingerprint};
use serde::Deserialize;
use uuid::Uuid;

use super::certificate::system_time;
use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use super::records::Inet;
use crate::error::ApiError;

/// An authority the devices of a project trust.
#[derive(Debug, Deserialize)]
pub(crate) struct TrustedAuthority {
    fingerprint: String,
    /// Whether it signs new certificates.
    #[serde(rename = "signs")]
    pub(crate) signs_certificates: bool,
    /// Whether it signs responses to agents.
    pub(crate) signs_responses: bool,
    pem: String,
}

impl TrustedAuthority {
    /// Fails with 500 only if the database wrote something else than 64 hexadecimal digits.
    pub(crate) fn fingerprint(&self) -> Result<Fingerprint, ApiError> {
        let mut bytes = Fingerprint::default();
        hex::decode_to_slice(&self.fingerprint, &mut bytes).map_err(|error| ApiError::internal(&error))?;
        Ok(bytes)
    }

    /// Fails with 500 only if a text was recorded that is no certificate.
    pub(crate) fn certificate(&self) -> Result<Certificate, ApiError> {
        let parsed = Certificate::parse(&self.pem).map_err(|error| ApiError::internal(&error))?;
        parsed.into_iter().next().ok_or_else(|| ApiError::internal(&"an authority without a certificate"))
    }
}

/// Makes an authority and what it may grant known.
pub(crate) async fn record(client: &impl GenericClient, authority: &Certificate) -> Result<(), ApiError> {
    let details = authority.details();
    let sql = "SELECT nebula.record_authority(nebula.actor($1), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let networks = |all: &[IpNetwork]| all.iter().copied().map(Inet).collect::<Vec<_>>();
    query_one(
        client,
        sql,
        &[
            client.gateway(),
            &authority.fingerprint().as_slice(),
            &details.name,
            &details.curve.short_name(),
            &i16::from(details.version.number()),
            &system_time(details.not_before),
            &system_time(details.not_after),
            &authority.pem(),
            &networks(&details.networks),
            &networks(&details.unsafe_networks),
            &details.groups,
        ],
    )
    .await
    .map(drop)
}

/// Gives a project that has none its first authority; false if the authority is that of another project.
/// Fails with 404 if there is no such project.
pub(crate) async fn adopt(
    client: &impl GenericClient,
    project_id: Uuid,
    fingerprint: &Fingerprint,
) -> Result<bool, ApiError> {
    let sql = "SELECT nebula.adopt_authority_for(nebula.actor($1), $2, $3)";
    Ok(query_one(client, sql, &[client.gateway(), &project_id, &fingerprint.as_slice()]).await?.try_get(0)?)
}

/// Every authority known, the one that expires first on top. Fails with 403 for anyone but administrators.
pub(crate) async fn list(client: &impl GenericClient, actor: &Account) -> Result<Vec<Authority>, ApiError> {
    map_rows(
        &query(client, "SELECT * FROM nebula.list_authorities(nebula.actor($1))", &[&actor]).await?,
        |row| {
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
        },
    )
}

/// An authority that projects sign with.
#[derive(Debug, Clone)]
pub(crate) struct SigningAuthority {
    pub(crate) fingerprint: String,
    pub(crate) name: String,
    pub(crate) not_after: DateTime<Utc>,
    pub(crate) seconds_left: f64,
    pub(crate) projects: i64,
}

impl SigningAuthority {
    pub(crate) fn has_ended(&self) -> bool {
        self.seconds_left <= 0.0
    }
}

/// The authorities that projects sign with, the first to end on top.
pub(crate) async fn signing(client: &impl GenericClient) -> Result<Vec<SigningAuthority>, ApiError> {
    let sql = "SELECT fingerprint, name, not_after, seconds_left, projects FROM nebula.signing_authorities(nebula.actor($1))";
    map_rows(&query(client, sql, &[client.gateway()]).await?, |row| {
        Ok(SigningAuthority {
            fingerprint: row.try_get(0)?,
            name: row.try_get(1)?,
            not_after: row.try_get(2)?,
            seconds_left: row.try_get(3)?,
            projects: row.try_get(4)?,
        })
    })
}

/// Records which authorities end soon or have ended, once each.
pub(crate) async fn record_ending(client: &impl GenericClient) -> Result<(), ApiError> {
    query_one(client, "SELECT nebula.record_ending_authorities(nebula.actor($1))", &[client.gateway()])
        .await
        .map(drop)
}
