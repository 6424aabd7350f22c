//! Invitations: made, listed, revoked, accepted. The database keeps hashes of codes.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use nebula_api::invitation::{Invitation, InvitationRequest, OpenInvitation};
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// An invitation that was just made.
pub(crate) struct NewCode {
    pub(crate) invitation_id: Uuid,
    /// The code itself; the database keeps only its hash.
    pub(crate) code: String,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Makes an invitation, into a project or for an account without one.
/// Fails with 403 not allowed, 404 no such project, 400 a value that is not allowed, 429 too many.
pub(crate) async fn create(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
    request: &InvitationRequest,
    address: Option<IpAddr>,
) -> Result<NewCode, ApiError> {
    let sql = "SELECT invitation_id, code, expires_at
                 FROM nebula.invite_for(nebula.actor($1), $2, $3, make_interval(secs => $4), $5, $6)";
    let lifetime = request.lifetime_seconds.map(f64::from);
    let row =
        query_one(client, sql, &[&actor, &project_id, &request.role, &lifetime, &request.note, &address])
            .await?;
    Ok(NewCode { invitation_id: row.try_get(0)?, code: row.try_get(1)?, expires_at: row.try_get(2)? })
}

/// The code by which the first operator of a new system chooses name and password; `None`: somebody has signed in
/// already. For administrators of the database.
pub(crate) async fn first_run(client: &impl GenericClient) -> Result<Option<String>, ApiError> {
    Ok(query_one(client, "SELECT nebula.first_run()", &[]).await?.try_get(0)?)
}

/// Invitations into a project, or for accounts without one, newest first. Fails with 403 not allowed.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
) -> Result<Vec<Invitation>, ApiError> {
    let sql = "SELECT * FROM nebula.list_invitations(nebula.actor($1), $2)";
    map_rows(&query(client, sql, &[&actor, &project_id]).await?, |row| {
        Ok(Invitation {
            invitation_id: row.try_get("invitation_id")?,
            project_id: row.try_get("project_id")?,
            role: row.try_get("role")?,
            note: row.try_get("note")?,
            state: row.try_get("state")?,
            invited_by: row.try_get("invited_by")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
            accepted_at: row.try_get("accepted_at")?,
            accepted_by: row.try_get("accepted_by")?,
        })
    })
}

/// Takes an invitation back. Fails with 404 none in sight, 409 it was accepted.
pub(crate) async fn revoke(
    client: &impl GenericClient,
    actor: &Account,
    invitation_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.revoke_invitation_for(nebula.actor($1), $2, $3)";
    query(client, sql, &[&actor, &invitation_id, &address]).await.map(drop)
}

/// The invitation behind a code. Fails with 404 no open invitation.
pub(crate) async fn find(client: &impl GenericClient, code_hash: &[u8]) -> Result<OpenInvitation, ApiError> {
    let sql =
        "SELECT project, role, invited_by, expires_at FROM nebula.find_invitation(nebula.actor($1), $2)";
    let row = query_one(client, sql, &[client.gateway(), &code_hash]).await?;
    Ok(OpenInvitation {
        project: row.try_get(0)?,
        role: row.try_get(1)?,
        invited_by: row.try_get(2)?,
        expires_at: row.try_get(3)?,
    })
}

/// Makes the account that a code invites. Fails with 404 no open invitation, 409 the name is taken, 400 a malformed name.
pub(crate) async fn accept(
    client: &impl GenericClient,
    code_hash: &[u8],
    (username, password_hash): (&str, &str),
    address: Option<IpAddr>,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.accept_invitation(nebula.actor($1), $2, $3, $4, $5)";
    let row =
        query_one(client, sql, &[client.gateway(), &code_hash, &username, &password_hash, &address]).await?;
    Ok(row.try_get(0)?)
}

/// Makes the actor a member of the project that a code invites to.
/// Fails with 404 no open invitation, 409 it is for a new account, or the actor has that role already.
pub(crate) async fn join(
    client: &impl GenericClient,
    actor: &Account,
    code_hash: &[u8],
    address: Option<IpAddr>,
) -> Result<Uuid, ApiError> {
    let sql = "SELECT nebula.join_by_invitation(nebula.actor($1), $2, $3)";
    Ok(query_one(client, sql, &[&actor, &code_hash, &address]).await?.try_get(0)?)
}
