//! Pictures of networks.

use nebula_api::network::NetworkPicture;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, query_one};
use crate::error::ApiError;

/// The picture of a project. Fails with 404 no such project, 403 not a member.
pub(crate) async fn picture(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    focus: Option<Uuid>,
) -> Result<NetworkPicture, ApiError> {
    let sql = "SELECT nebula.network(nebula.actor($1), $2, $3)";
    let Json(network) = query_one(client, sql, &[&actor, &project_id, &focus]).await?.try_get(0)?;
    Ok(network)
}

/// Fails with 404 no such project, 403 not a member.
pub(crate) async fn require_member(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.require_member(nebula.actor($1), $2)";
    query_one(client, sql, &[&actor, &project_id]).await.map(drop)
}
