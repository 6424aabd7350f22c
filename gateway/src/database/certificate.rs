//! Certificates: recorded when signed, listed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnetwork::IpNetwork;
use nebula_api::certificate::Certificate;
use nebula_certificate::Issued;
use uuid::Uuid;

use super::PipelinedTransaction;
use super::proof::Account;
use super::query::{GenericClient, map_rows, query};
use super::records::{Inet, NewCertificateRow};
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
    let statement = transaction.prepare("SELECT nebula.record_certificates(nebula.actor($1), $2)").await?;
    let rows = signed.iter().flat_map(|device| device.issued.iter().map(move |issued| row(device, issued)));
    let certificates: Vec<_> = rows.collect();
    let gateway = transaction.gateway().clone();
    transaction.query_and_commit((statement, &[&gateway, &certificates])).await
}

fn row<'a>(device: &SignedCertificates<'a>, issued: &'a Issued) -> NewCertificateRow<'a> {
    let details = issued.certificate.details();
    let networks = |all: &[IpNetwork]| all.iter().copied().map(Inet).collect();
    let (actor, code_hash, counter) = match device.authorized_by {
        AuthorizedBy::Account(actor) => (Some(actor), None, None),
        AuthorizedBy::Code(hash) => (None, Some(hash), None),
        AuthorizedBy::Answer(counter) => (None, None, Some(counter)),
    };
    NewCertificateRow {
        actor,
        code_hash,
        counter,
        device_id: device.device_id,
        fingerprint: &issued.fingerprint,
        alternate_fingerprint: issued.alternate_fingerprint.as_ref().map(<[u8; 32]>::as_slice),
        name: &details.name,
        version: i16::from(issued.version.number()),
        curve: details.curve.short_name(),
        networks: networks(&details.networks),
        unsafe_networks: networks(&details.unsafe_networks),
        groups: &details.groups,
        public_key: &details.public_key,
        // Only the certificate of an authority has no issuer; those are not recorded here.
        issuer: details.issuer.as_ref().map_or(&[], <[u8; 32]>::as_slice),
        not_before: system_time(details.not_before),
        not_after: system_time(details.not_after),
        pem: &issued.pem,
    }
}

/// Certificates of the projects the account sees, longest valid first, of one device or all.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    device_id: Option<Uuid>,
) -> Result<Vec<Certificate>, ApiError> {
    let sql = "SELECT * FROM nebula.list_certificates(nebula.actor($1), $2)";
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
    let sql = "SELECT renewal, devices, seconds FROM nebula.certificate_counts(nebula.actor($1))";
    map_rows(&query(client, sql, &[client.gateway()]).await?, |row| {
        Ok(RenewalCount { renewal: row.try_get(0)?, devices: row.try_get(1)?, seconds: row.try_get(2)? })
    })
}

/// A certificate counts seconds since 1970; none that we sign is earlier.
pub(super) fn system_time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0))
}
