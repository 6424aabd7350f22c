//! Certificates: recorded when signed, listed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deadpool_postgres::GenericClient;
use ipnetwork::IpNetwork;
use nebula_api::certificate::Certificate;
use nebula_certificate::Issued;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::PipelinedTransaction;
use super::query::{array_literal, collect_column, map_rows, query};
use crate::error::ApiError;

/// The authority by which certificates are recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AuthorizedBy<'a> {
    Account(Uuid),
    /// Hash of the enrolment code that the device joined by.
    Code(&'a [u8]),
    /// Counter of the answer to an agent that carries the certificates; the same transaction noted it.
    Answer(i64),
}

/// Certificates signed for a device at once, one per version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignedCertificates<'a> {
    pub(crate) authorized_by: AuthorizedBy<'a>,
    /// Holds every address in the certificates.
    pub(crate) device_id: Uuid,
    pub(crate) issued: &'a [Issued],
}

/// Records certificates and commits the transaction that allocated the addresses in them. Fails with 404 no
/// such device, 403 not a member, 409 the device did not join by the code, no such answer is being made, or a
/// device does not hold an address.
pub(crate) async fn record(
    transaction: PipelinedTransaction,
    signed: &[SignedCertificates<'_>],
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.record_certificates($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
               $13, $14, $15, $16, $17)";
    let statement = transaction.prepare_cached(sql).await?;
    let all: Vec<_> =
        signed.iter().flat_map(|device| device.issued.iter().map(move |issued| (device, issued))).collect();
    let details = collect_column(&all, |(_, issued)| issued.certificate.details());
    let values: [&(dyn ToSql + Sync); 17] = [
        &collect_column(&all, |(device, _)| match device.authorized_by {
            AuthorizedBy::Account(actor) => Some(actor),
            _ => None,
        }),
        &collect_column(&all, |(device, _)| match device.authorized_by {
            AuthorizedBy::Code(hash) => Some(hash),
            _ => None,
        }),
        &collect_column(&all, |(device, _)| match device.authorized_by {
            AuthorizedBy::Answer(counter) => Some(counter),
            _ => None,
        }),
        &collect_column(&all, |(device, _)| device.device_id),
        &collect_column(&details, |details| details.name.as_str()),
        &collect_column(&details, |details| details.curve.short_name()),
        &collect_column(&details, |details| array_literal(&details.groups)),
        &collect_column(&details, |details| details.public_key.as_slice()),
        &collect_column(&details, |details| details.issuer.unwrap_or_default().to_vec()),
        &collect_column(&details, |details| system_time(details.not_before)),
        &collect_column(&details, |details| system_time(details.not_after)),
        &collect_column(&all, |(_, issued)| issued.fingerprint.as_slice()),
        &collect_column(&all, |(_, issued)| issued.alternate_fingerprint.as_ref().map(<[u8; 32]>::as_slice)),
        &collect_column(&all, |(_, issued)| i16::from(issued.version.number())),
        &collect_column(&details, |details| array_literal(details.networks.iter().map(IpNetwork::to_string))),
        &collect_column(&details, |details| {
            array_literal(details.unsafe_networks.iter().map(IpNetwork::to_string))
        }),
        &collect_column(&all, |(_, issued)| issued.pem.as_str()),
    ];
    transaction.query_and_commit((statement, &values)).await
}

/// Certificates of the projects the account sees, longest valid first, of one device or all.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: Uuid,
    device_id: Option<Uuid>,
) -> Result<Vec<Certificate>, ApiError> {
    let sql = "SELECT * FROM nebula.list_certificates($1, $2)";
    map_rows(&query(client, sql, &[&actor, &device_id]).await?, |row| {
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

/// Number of live devices whose certificates are renewed the same way.
pub(crate) struct RenewalCount {
    /// `by its agent`, `due`, `overdue` or `by hand`.
    pub(crate) renewal: String,
    pub(crate) devices: i64,
    /// Until the first of their certificates expires.
    pub(crate) seconds: Option<f64>,
}

/// Counts for metrics.
pub(crate) async fn renewal_counts(client: &impl GenericClient) -> Result<Vec<RenewalCount>, ApiError> {
    let sql = "SELECT renewal, devices, seconds FROM nebula.certificate_counts()";
    map_rows(&query(client, sql, &[]).await?, |row| {
        Ok(RenewalCount { renewal: row.try_get(0)?, devices: row.try_get(1)?, seconds: row.try_get(2)? })
    })
}

/// A certificate counts seconds since 1970; none that we sign is earlier.
pub(super) fn system_time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0))
}
