//! Enrolment codes: made, listed, revoked, used.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use deadpool_postgres::GenericClient;
use nebula_api::enrolment::{Enrolment, EnrolmentRequest};
use uuid::Uuid;

use super::{each, one, rows};
use crate::ApiError;

/// A code that was just made.
pub struct Made {
    /// Its identifier.
    pub enrolment_id: Uuid,
    /// The code itself, which nobody can ask for again.
    pub code: String,
    /// Not good any more after this.
    pub expires_at: DateTime<Utc>,
}

/// What a device that enrols brings.
pub struct NewAgent<'a> {
    /// The identifier it chose, if it did.
    pub device_id: Option<Uuid>,
    /// The name it would like, if it says so.
    pub name: Option<&'a str>,
    /// Where it is on the underlay.
    pub endpoints: &'a [String],
    /// `25519` or `P256`.
    pub curve: &'a str,
    /// Raw key for its certificates.
    pub public_key: &'a [u8],
    /// Raw key that will sign its calls.
    pub host_key: &'a [u8],
}

/// Makes a code.
///
/// # Errors
/// 403 not an administrator, 404 no such project, 400 what is asked for cannot be.
pub async fn create(
    client: &impl GenericClient,
    actor: Uuid,
    wanted: &EnrolmentRequest,
) -> Result<Made, ApiError> {
    let sql = "SELECT enrolment_id, code, expires_at \
               FROM nebula.create_enrolment_for($1, $2, $3, $4, $5, $6, $7, $8, make_interval(secs => $9), $10)";
    let lifetime = wanted.lifetime_seconds.map(f64::from);
    let row = one(
        client,
        sql,
        &[
            &actor,
            &wanted.project_id,
            &wanted.name,
            &wanted.role,
            &wanted.groups,
            &wanted.endpoints,
            &wanted.address,
            &wanted.uses,
            &lifetime,
            &wanted.device_id,
        ],
    )
    .await?;
    Ok(Made { enrolment_id: row.try_get(0)?, code: row.try_get(1)?, expires_at: row.try_get(2)? })
}

/// Codes, newest first, without the codes.
///
/// # Errors
/// 403 not an administrator.
pub async fn list(
    client: &impl GenericClient,
    actor: Uuid,
    project_id: Option<Uuid>,
) -> Result<Vec<Enrolment>, ApiError> {
    let sql = "SELECT * FROM nebula.list_enrolments($1, $2)";
    each(&rows(client, sql, &[&actor, &project_id]).await?, |row| {
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
///
/// # Errors
/// 403 not an administrator, 404 no such code.
pub async fn revoke(client: &impl GenericClient, actor: Uuid, enrolment_id: Uuid) -> Result<(), ApiError> {
    one(client, "SELECT nebula.revoke_enrolment_for($1, $2)", &[&actor, &enrolment_id]).await.map(drop)
}

/// The project a code is for, by the code's hash; none for one that is not good.
///
/// # Errors
/// Those of the database.
pub async fn project(client: &impl GenericClient, code_hash: &[u8]) -> Result<Option<Uuid>, ApiError> {
    Ok(one(client, "SELECT nebula.enrolment_project($1)", &[&code_hash]).await?.try_get(0)?)
}

/// Makes a device by a code; answers it and the counter of the answer. Call it in the transaction that records the
/// certificates.
///
/// # Errors
/// 404 the code is not good, 409 the device was revoked, or its identifier or name is taken, 507 pool exhausted.
pub async fn enroll(
    client: &impl GenericClient,
    code_hash: &[u8],
    new: &NewAgent<'_>,
    address: Option<IpAddr>,
) -> Result<(Uuid, i64), ApiError> {
    let sql = "SELECT enrolled, answer FROM nebula.enroll_device($1, $2, $3, $4, $5, $6, $7, $8::text::inet)";
    let address = address.map(|address| address.to_string());
    let row = one(
        client,
        sql,
        &[
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
