//! Members of projects and their roles.

use std::net::IpAddr;

use nebula_api::account::{Member, SetMember};
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query};
use crate::error::ApiError;

/// Members of a project, owners first. Fails with 403 not a member, 404 no such project.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
) -> Result<Vec<Member>, ApiError> {
    let rows =
        query(client, "SELECT * FROM nebula.list_members(nebula.actor($1), $2)", &[&actor, &project_id])
            .await?;
    map_rows(&rows, |row| {
        Ok(Member {
            account_id: row.try_get("account_id")?,
            username: row.try_get("username")?,
            role: row.try_get("role")?,
            added_at: row.try_get("added_at")?,
            disabled: row.try_get("disabled")?,
        })
    })
}

/// Adds a member, or changes its role. Fails with 403 not an owner, 404 no such account or project, 400 no such role,
/// 409 the last owner.
pub(crate) async fn set(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    member: &SetMember,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.set_member_for(nebula.actor($1), $2, $3, $4, $5)";
    query(client, sql, &[&actor, &project_id, &member.username, &member.role, &address]).await.map(drop)
}

/// Ends a membership. Fails with 403 neither an owner nor the member, 404 not a member, 409 the last owner.
pub(crate) async fn remove(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    account_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.remove_member_for(nebula.actor($1), $2, $3, $4)";
    query(client, sql, &[&actor, &project_id, &account_id, &address]).await.map(drop)
}
