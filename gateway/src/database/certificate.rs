//! Certificates: recorded when signed, listed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deadpool_postgres::GenericClient;
use ipnetwork::IpNetwork;
use nebula_api::certificate::Certificate;
use nebula_certificate::{Details, Issued};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Unit, each, rows};
use crate::ApiError;

/// On whose word certificates are recorded.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    /// An account's.
    Account(Uuid),
    /// That of the enrolment code with this hash.
    Code(&'a [u8]),
    /// The answer to an agent that they go out with, noted in the same transaction.
    Answer(i64),
}

/// Records what was signed for a device that holds every address in it, and commits the transaction that allocated them.
///
/// # Errors
/// 404 no such device, 403 not a member, 409 it did not join by the code, no such answer is being made, or the device does
/// not hold an address.
pub async fn record(unit: Unit, by: By<'_>, device_id: Uuid, issued: &[Issued]) -> Result<(), ApiError> {
    let Some(first) = issued.first() else { return Err(ApiError::internal(&"nothing was signed")) };
    let details = first.certificate.details();
    let (mut actor, mut code, mut counter) = (None, None, None);
    match by {
        By::Account(account) => actor = Some(account),
        By::Code(hash) => code = Some(hash),
        By::Answer(answer) => counter = Some(answer),
    }
    let networks = |of: fn(&Details) -> &[IpNetwork]| -> Vec<String> {
        issued.iter().map(|one| array(of(one.certificate.details()))).collect()
    };
    let statement = unit
        .prepare_cached(
            "SELECT nebula.record_certificates($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        )
        .await?;
    let issuer = details.issuer.unwrap_or_default();
    let fingerprints: Vec<_> = issued.iter().map(|one| one.fingerprint.as_slice()).collect();
    let alternates: Vec<_> =
        issued.iter().map(|one| one.alternate_fingerprint.as_ref().map(<[u8; 32]>::as_slice)).collect();
    let versions: Vec<_> = issued.iter().map(|one| i16::from(one.version.number())).collect();
    let pems: Vec<_> = issued.iter().map(|one| one.pem.as_str()).collect();
    let (networks, unsafe_networks) =
        (networks(|details| &details.networks), networks(|details| &details.unsafe_networks));
    let values: [&(dyn ToSql + Sync); 17] = [
        &actor,
        &code,
        &counter,
        &device_id,
        &details.name,
        &crate::authority::curve_name(details.curve),
        &details.groups,
        &details.public_key,
        &issuer.as_slice(),
        &time(details.not_before),
        &time(details.not_after),
        &fingerprints,
        &alternates,
        &versions,
        &networks,
        &unsafe_networks,
        &pems,
    ];
    unit.commit_with((statement, &values)).await
}

/// As PostgreSQL writes an array.
fn array(networks: &[IpNetwork]) -> String {
    let words: Vec<_> = networks.iter().map(ToString::to_string).collect();
    format!("{{{}}}", words.join(","))
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
