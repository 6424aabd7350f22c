//! Certificates: recorded when signed, listed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deadpool_postgres::GenericClient;
use ipnetwork::IpNetwork;
use nebula_api::certificate::Certificate;
use nebula_certificate::Issued;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{each, one, rows};
use crate::ApiError;

/// Records a signed certificate of a device that holds every address in it. Call it in the transaction that
/// allocated the address.
///
/// # Errors
/// 404 no such device, 403 not a member, 409 the device does not hold an address of it.
pub async fn record(
    client: &impl GenericClient,
    actor: Uuid,
    device_id: Uuid,
    issued: &Issued,
) -> Result<(), ApiError> {
    let sql =
        "SELECT nebula.record_certificate($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    write(client, sql, [&actor, &device_id], issued).await
}

/// Records a certificate that goes out with an answer to an agent. Call it in the transaction that noted the answer.
///
/// # Errors
/// 409 no such answer is being made, or the device does not hold an address of it.
pub async fn record_for_agent(
    client: &impl GenericClient,
    device_id: Uuid,
    counter: i64,
    issued: &Issued,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.record_agent_certificate($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    write(client, sql, [&device_id, &counter], issued).await
}

/// Records a certificate of a device that joined by a code.
///
/// # Errors
/// 409 it did not, or it does not hold an address of it.
pub async fn record_by_code(
    client: &impl GenericClient,
    code_hash: &[u8],
    device_id: Uuid,
    issued: &Issued,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.record_code_certificate($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    write(client, sql, [&code_hash, &device_id], issued).await
}

async fn write(
    client: &impl GenericClient,
    sql: &str,
    by: [&(dyn ToSql + Sync); 2],
    issued: &Issued,
) -> Result<(), ApiError> {
    let details = issued.certificate.details();
    let texts = |networks: &[IpNetwork]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    let [who, whose] = by;
    one(
        client,
        sql,
        &[
            who,
            whose,
            &details.name,
            &issued.fingerprint.as_slice(),
            &issued.alternate_fingerprint.as_ref().map(|bytes| bytes.as_slice()),
            &i16::from(issued.version.number()),
            &crate::authority::curve_name(details.curve),
            &texts(&details.networks),
            &texts(&details.unsafe_networks),
            &details.groups,
            &details.public_key,
            &details.issuer.unwrap_or_default().as_slice(),
            &time(details.not_before),
            &time(details.not_after),
            &issued.pem,
        ],
    )
    .await
    .map(drop)
}

/// Certificates of the projects the account sees, longest valid first, of one device or all.
///
/// # Errors
/// Those of the database.
pub async fn list(
    client: &impl GenericClient,
    actor: Uuid,
    device_id: Option<Uuid>,
) -> Result<Vec<Certificate>, ApiError> {
    let sql = "SELECT * FROM nebula.list_certificates($1, $2)";
    each(&rows(client, sql, &[&actor, &device_id]).await?, |row| {
        Ok(Certificate {
            fingerprint: row.try_get("fingerprint")?,
            project_id: row.try_get("project_id")?,
            device_id: row.try_get("device_id")?,
            device_name: row.try_get("device_name")?,
            version: row.try_get("version")?,
            curve: row.try_get("curve")?,
            networks: row.try_get("networks")?,
            groups: row.try_get("groups")?,
            not_before: row.try_get("not_before")?,
            not_after: row.try_get("not_after")?,
            issued_at: row.try_get("issued_at")?,
            revoked_at: row.try_get("revoked_at")?,
        })
    })
}

/// Live devices by who renews their certificates.
pub struct Count {
    /// `by its agent`, `due`, `overdue` or `by hand`.
    pub renewal: String,
    /// How many.
    pub devices: i64,
    /// Until the first of them expires.
    pub seconds: Option<f64>,
}

/// For metrics.
///
/// # Errors
/// Those of the database.
pub async fn counts(client: &impl GenericClient) -> Result<Vec<Count>, ApiError> {
    let sql = "SELECT renewal, devices, seconds FROM nebula.certificate_counts()";
    each(&rows(client, sql, &[]).await?, |row| {
        Ok(Count { renewal: row.try_get(0)?, devices: row.try_get(1)?, seconds: row.try_get(2)? })
    })
}

/// Certificates count seconds since 1970; those we sign are later than that.
pub(super) fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0))
}
