//! Certificates: recorded when signed, listed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deadpool_postgres::GenericClient;
use ipnetwork::IpNetwork;
use nebula_api::certificate::Certificate;
use nebula_certificate::Issued;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Unit, array, column, each, rows};
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

/// What was signed for a device at once.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// On whose word.
    pub by: By<'a>,
    /// For whom; it holds every address in them.
    pub device_id: Uuid,
    /// Of each version one.
    pub issued: &'a [Issued],
}

/// Records what was signed and commits the transaction that allocated the addresses.
///
/// # Errors
/// 404 no such device, 403 not a member, 409 it did not join by the code, no such answer is being made, or a device does
/// not hold an address.
pub async fn record(unit: Unit, signed: &[Signed<'_>]) -> Result<(), ApiError> {
    let statement = unit
        .prepare_cached(
            "SELECT nebula.record_certificates($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        )
        .await?;
    let all: Vec<_> =
        signed.iter().flat_map(|one| one.issued.iter().map(move |issued| (one, issued))).collect();
    let actors = column(&all, |(one, _)| if let By::Account(actor) = one.by { Some(actor) } else { None });
    let codes = column(&all, |(one, _)| if let By::Code(hash) = one.by { Some(hash) } else { None });
    let counters =
        column(&all, |(one, _)| if let By::Answer(counter) = one.by { Some(counter) } else { None });
    let devices = column(&all, |(one, _)| one.device_id);
    let details = column(&all, |(_, issued)| issued.certificate.details());
    let values: [&(dyn ToSql + Sync); 17] = [
        &actors,
        &codes,
        &counters,
        &devices,
        &column(&details, |says| says.name.as_str()),
        &column(&details, |says| crate::authority::curve_name(says.curve)),
        &column(&details, |says| array(&says.groups)),
        &column(&details, |says| says.public_key.as_slice()),
        &column(&details, |says| says.issuer.unwrap_or_default().to_vec()),
        &column(&details, |says| time(says.not_before)),
        &column(&details, |says| time(says.not_after)),
        &column(&all, |(_, issued)| issued.fingerprint.as_slice()),
        &column(&all, |(_, issued)| issued.alternate_fingerprint.as_ref().map(<[u8; 32]>::as_slice)),
        &column(&all, |(_, issued)| i16::from(issued.version.number())),
        &column(&details, |says| array(says.networks.iter().map(IpNetwork::to_string))),
        &column(&details, |says| array(says.unsafe_networks.iter().map(IpNetwork::to_string))),
        &column(&all, |(_, issued)| issued.pem.as_str()),
    ];
    unit.commit_with((statement, &values)).await
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
