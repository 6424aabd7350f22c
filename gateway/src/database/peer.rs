//! Peers: created, changed, moved, removed; and what their nodes have applied.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use nebula_api::peer::{NewPeer, Peer, PeerChanges, PeerConfig, PeerResult};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// Peers of the projects the account sees, of one or all, by name: all, or at most `max` of those after a
/// peer. Fails with 404 no peer to begin after, 400 a `max` that is out of range.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
    after: Option<Uuid>,
    max: Option<i32>,
) -> Result<Vec<Peer>, ApiError> {
    let sql = "SELECT nebula.list_peers(nebula.actor($1), $2, $3, $4)";
    let rows = query(client, sql, &[&actor, &project_id, &after, &max]).await?;
    map_rows(&rows, |row| row.try_get(0).map(|Json(peer)| peer))
}

/// Creates peers in one transaction, each with a result of its own. Past `deadline` those that their nodes
/// have not applied are withdrawn. Fails with 403 not a member, 404 no such project, 400 an unknown strategy.
pub(crate) async fn create(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    peers: &[NewPeer],
    strategy: &str,
    deadline: Option<DateTime<Utc>>,
    address: Option<IpAddr>,
) -> Result<Vec<PeerResult>, ApiError> {
    let sql = "SELECT nebula.create_peers_for(nebula.actor($1), $2, $3, $4, $5, $6)";
    let peers = Json(peers);
    let values: [&(dyn ToSql + Sync); 6] = [&actor, &project_id, &peers, &strategy, &deadline, &address];
    map_rows(&query(client, sql, &values).await?, read_result)
}

/// Changes a peer; answers it. Fails with 403 neither its creator nor an administrator, 404 no such peer, 400
/// malformed, 409 name or key is taken.
pub(crate) async fn update(
    client: &impl GenericClient,
    actor: &Account,
    peer_id: Uuid,
    changes: &PeerChanges,
    address: Option<IpAddr>,
) -> Result<Peer, ApiError> {
    let sql = "SELECT nebula.update_peer_for(nebula.actor($1), $2, $3, $4)";
    let Json(peer) =
        query_one(client, sql, &[&actor, &peer_id, &Json(changes), &address]).await?.try_get(0)?;
    Ok(peer)
}

/// Places peers on other nodes too; each moves when it is seen there. Fails as [`create`].
pub(crate) async fn move_to(
    client: &impl GenericClient,
    actor: &Account,
    peer_ids: &[Uuid],
    strategy: &str,
    deadline: Option<DateTime<Utc>>,
    address: Option<IpAddr>,
) -> Result<Vec<PeerResult>, ApiError> {
    let sql = "SELECT nebula.move_peers_for(nebula.actor($1), $2, $3, $4, $5)";
    let values: [&(dyn ToSql + Sync); 5] = [&actor, &peer_ids, &strategy, &deadline, &address];
    map_rows(&query(client, sql, &values).await?, read_result)
}

/// Lets a peer that moves stay on its node; answers it. Fails with 403 neither its creator nor an
/// administrator, 404 no such peer, 409 it does not move, or has been seen on the other node.
pub(crate) async fn cancel_move(
    client: &impl GenericClient,
    actor: &Account,
    peer_id: Uuid,
    address: Option<IpAddr>,
) -> Result<Peer, ApiError> {
    let sql = "SELECT nebula.cancel_move_for(nebula.actor($1), $2, $3)";
    let Json(peer) = query_one(client, sql, &[&actor, &peer_id, &address]).await?.try_get(0)?;
    Ok(peer)
}

/// Removes peers; each is gone when its nodes have confirmed that. Fails as [`create`].
pub(crate) async fn remove(
    client: &impl GenericClient,
    actor: &Account,
    peer_ids: &[Uuid],
    address: Option<IpAddr>,
) -> Result<Vec<PeerResult>, ApiError> {
    let sql = "SELECT nebula.remove_peers_for(nebula.actor($1), $2, $3)";
    map_rows(&query(client, sql, &[&actor, &peer_ids, &address]).await?, read_result)
}

/// The `.conf` of a peer, which is then the one that was handed out. Fails with 403 neither its creator nor
/// an administrator, 404 no such peer, 409 its node has no key yet.
pub(crate) async fn config(
    client: &impl GenericClient,
    actor: &Account,
    peer_id: Uuid,
) -> Result<PeerConfig, ApiError> {
    let sql = "SELECT nebula.peer_config(nebula.actor($1), $2)";
    let Json(config) = query_one(client, sql, &[&actor, &peer_id]).await?.try_get(0)?;
    Ok(config)
}

/// Fate of the last change of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The node has not answered yet; why, where that is known.
    Pending(Option<String>),
    /// The node has read it back.
    Done,
    /// The node could not apply it.
    Refused(Option<String>),
}

/// Fates of the last changes of peers that the account sees; nothing for a peer that does not exist any more.
pub(crate) async fn applied(
    client: &impl GenericClient,
    actor: &Account,
    peer_ids: &[Uuid],
) -> Result<Vec<(Uuid, Applied)>, ApiError> {
    let sql = "SELECT peer_id, state, reason FROM nebula.peers_applied(nebula.actor($1), $2)";
    map_rows(&query(client, sql, &[&actor, &peer_ids]).await?, |row| {
        let reason = row.try_get(2)?;
        let applied = match row.try_get(1)? {
            "applied" => Applied::Done,
            "refused" => Applied::Refused(reason),
            _ => Applied::Pending(reason),
        };
        Ok((row.try_get(0)?, applied))
    })
}

/// Withdraws changes that the nodes of peers have not applied: a new peer is to go, one that moves stays
/// where it is. Answers the peers that were withdrawn; not those whose nodes have applied it meanwhile.
pub(crate) async fn withdraw(
    client: &impl GenericClient,
    actor: &Account,
    peer_ids: &[Uuid],
    reason: &str,
) -> Result<Vec<Uuid>, ApiError> {
    let sql = "SELECT nebula.withdraw_peers_for(nebula.actor($1), $2, $3)";
    let rows = query(client, sql, &[&actor, &peer_ids, &reason]).await?;
    map_rows(&rows, |row| row.try_get(0))
}

/// Number of peers by state, for metrics.
pub(crate) async fn counts(client: &impl GenericClient) -> Result<Vec<(String, i64)>, ApiError> {
    let rows =
        query(client, "SELECT state, peers FROM nebula.peer_counts(nebula.actor($1))", &[client.gateway()])
            .await?;
    map_rows(&rows, |row| Ok((row.try_get(0)?, row.try_get(1)?)))
}

fn read_result(row: &Row) -> Result<PeerResult, tokio_postgres::Error> {
    row.try_get(0).map(|Json(result)| result)
}
