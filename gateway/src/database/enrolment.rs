//! Enrolment codes: made, listed, revoked, used.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use nebula_api::enrolment::{Enrolment, EnrolmentRequest};
use nebula_api::preauth::Approval;
use tokio_postgres::Row;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// A code that was just made.
pub(crate) struct NewCode {
    pub(crate) enrolment_id: Uuid,
    /// The code itself; the database keeps only its hash.
    pub(crate) code: String,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Request of a device to enrol.
pub(crate) struct NewAgent<'a> {
    /// The identifier that the device chose.
    pub(crate) device_id: Option<Uuid>,
    /// The name that the device would like; the code may fix another one.
    pub(crate) name: Option<&'a str>,
    /// `host:port` on the underlay.
    pub(crate) endpoints: &'a [String],
    /// `25519` or `P256`.
    pub(crate) curve: &'a str,
    /// Raw key for the device's certificates.
    pub(crate) public_key: &'a [u8],
    /// Raw key that will sign the device's calls.
    pub(crate) host_key: &'a [u8],
}

/// Makes a code.
/// Fails with 403 not an administrator, 404 no such project, 400 a value that is not allowed.
pub(crate) async fn create(
    client: &impl GenericClient,
    actor: &Account,
    request: &EnrolmentRequest,
) -> Result<NewCode, ApiError> {
    let row = create_row(client, actor, request, None).await?;
    Ok(NewCode { enrolment_id: row.try_get(0)?, code: row.try_get(1)?, expires_at: row.try_get(2)? })
}

/// Makes the code good of which a device that asks to be let in has sent the hash.
/// Fails as `create`, and with 409 approved before.
pub(crate) async fn approve(
    client: &impl GenericClient,
    actor: &Account,
    request: &EnrolmentRequest,
    code_hash: &[u8],
) -> Result<Approval, ApiError> {
    let row = create_row(client, actor, request, Some(code_hash)).await?;
    Ok(Approval { enrolment_id: row.try_get(0)?, expires_at: row.try_get(2)? })
}

async fn create_row(
    client: &impl GenericClient,
    actor: &Account,
    request: &EnrolmentRequest,
    code_hash: Option<&[u8]>,
) -> Result<Row, ApiError> {
    let sql = "SELECT enrolment_id, code, expires_at \
               FROM nebula.create_enrolment_for(nebula.actor($1), $2, $3, $4, $5, $6, $7, $8, make_interval(secs => $9), \
               $10, $11)";
    let lifetime = request.lifetime_seconds.map(f64::from);
    query_one(
        client,
        sql,
        &[
            &actor,
            &request.project_id,
            &request.name,
            &request.role,
            &request.groups,
            &request.endpoints,
            &request.address,
            &request.uses,
            &lifetime,
            &request.device_id,
            &code_hash,
        ],
    )
    .await
}

/// Codes, newest first, without the codes.
/// Fails with 403 not an administrator.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
) -> Result<Vec<Enrolment>, ApiError> {
    let sql = "SELECT * FROM nebula.list_enrolments(nebula.actor($1), $2)";
    map_rows(&query(client, sql, &[&actor, &project_id]).await?, |row| {
        Ok(Enrolment {
            enrolment_id: row.try_get("enrolment_id")?,
            project_id: row.try_get("project_id")?,
            name: row.try_get("name")?,
            role: row.try_get("role")?,
            groups: row.try_get("groups")?,
            address: row.try_get("address")?,
            uses: row.try_get("uses")?,
            uses_max: row.try_get("uses_max")?,
            state: row.try_get("state")?,
            created_by: row.try_get("created_by")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
            device_id: row.try_get("device_id")?,
        })
    })
}

/// Ends a code.
/// Fails with 403 not an administrator, 404 no such code.
pub(crate) async fn revoke(
    client: &impl GenericClient,
    actor: &Account,
    enrolment_id: Uuid,
) -> Result<(), ApiError> {
    query_one(client, "SELECT nebula.revoke_enrolment_for(nebula.actor($1), $2)", &[&actor, &enrolment_id])
        .await
        .map(drop)
}

/// The project of a code, by the code's hash; `None` if the code is not good.
pub(crate) async fn project(client: &impl GenericClient, code_hash: &[u8]) -> Result<Option<Uuid>, ApiError> {
    Ok(query_one(
        client,
        "SELECT nebula.enrolment_project(nebula.actor($1), $2)",
        &[client.gateway(), &code_hash],
    )
    .await?
    .try_get(0)?)
}

/// Makes a device by a code; answers the device and the counter of the answer. Call it in the transaction
/// that records the certificates. Fails with 404 the code is not good, 409 the device was revoked, or its
/// identifier or name is taken, 507 pool exhausted.
pub(crate) async fn enroll(
    client: &impl GenericClient,
    code_hash: &[u8],
    new: &NewAgent<'_>,
    address: Option<IpAddr>,
) -> Result<(Uuid, i64), ApiError> {
    let sql =
        "SELECT enrolled, answer FROM nebula.enroll_device(nebula.actor($1), $2, $3, $4, $5, $6, $7, $8, $9)";
    let row = query_one(
        client,
        sql,
        &[
            client.gateway(),
            &code_hash,
            &new.device_id,
            &new.name,
            &new.endpoints,
            &new.curve,
            &new.public_key,
            &new.host_key,
            &address,
        ],
    )
    .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
