//! Batches of peers, and waiting until nodes have applied them.
//!
//! A request that waits ends in one of two ways, also if its client went away meanwhile: the node has applied
//! the change, or it is withdrawn. The database does the same past the deadline if the gateway died.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use nebula_api::peer::{CreatePeers, PeerChoice, PeerResult, PeerState};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::database::Account;
use crate::database::Database;
use crate::database::peer::{self as database, Applied};
use crate::error::{ApiError, NO_NODE, WRONG_STATE};
use crate::infra::node_hub::NodeHub;

/// Items of a batch.
const MAX_BATCH: usize = 1000;
/// Longest wait in seconds.
const MAX_WAIT: u32 = 60;
/// The database withdraws what was not applied this much later than the gateway does.
const GRACE: TimeDelta = TimeDelta::seconds(15);
/// Pause between two looks at the database, so that messages about many nodes do not cost a look each.
const PAUSE: Duration = Duration::from_millis(20);

/// Creates, moves and removes peers.
#[derive(Debug)]
pub(crate) struct Peers {
    database: Database,
    hub: NodeHub,
    /// Ends waiting when the gateway stops.
    stopping: CancellationToken,
}

/// The outcomes of waiting; a peer that is gone has none.
type Outcomes = HashMap<Uuid, Applied>;

impl Peers {
    pub(crate) fn new(database: Database, hub: NodeHub, stopping: CancellationToken) -> Self {
        Self { database, hub, stopping }
    }

    /// Creates peers; each has a result of its own. With `wait`, fails with 503 if no node applied any of
    /// them.
    pub(crate) async fn create(
        self: &Arc<Self>,
        actor: Account,
        request: CreatePeers,
        address: Option<IpAddr>,
    ) -> Result<Vec<PeerResult>, ApiError> {
        check("peers", request.peers.len(), request.wait)?;
        let service = Arc::clone(self);
        decided(request.wait, async move {
            let CreatePeers { project_id, strategy, peers, wait } = request;
            let client = service.database.client().await?;
            let deadline = deadline(wait);
            let mut results =
                database::create(&client, &actor, project_id, &peers, &strategy, deadline, address).await?;
            drop(client);
            service.settle(&actor, &mut results, wait, PeerState::Active).await?;
            Ok(results)
        })
        .await
    }

    /// Places peers on other nodes. With `wait`, those that are not applied there stay where they are, and it
    /// fails with 503 if that is so for all.
    pub(crate) async fn move_to(
        self: &Arc<Self>,
        actor: Account,
        choice: PeerChoice,
        address: Option<IpAddr>,
    ) -> Result<Vec<PeerResult>, ApiError> {
        check("peerIds", choice.peer_ids.len(), choice.wait)?;
        let service = Arc::clone(self);
        decided(choice.wait, async move {
            let PeerChoice { peer_ids, strategy, wait } = choice;
            let (strategy, deadline) = (strategy.as_deref().unwrap_or("auto"), deadline(wait));
            let client = service.database.client().await?;
            let mut results =
                database::move_to(&client, &actor, &peer_ids, strategy, deadline, address).await?;
            drop(client);
            service.settle(&actor, &mut results, wait, PeerState::Moving).await?;
            Ok(results)
        })
        .await
    }

    /// Removes peers. With `wait`, results without a peer are those whose nodes have confirmed it.
    pub(crate) async fn remove(
        &self,
        actor: &Account,
        choice: PeerChoice,
        address: Option<IpAddr>,
    ) -> Result<Vec<PeerResult>, ApiError> {
        check("peerIds", choice.peer_ids.len(), choice.wait)?;
        if choice.strategy.is_some() {
            return Err(ApiError::bad_argument("peers that are removed go nowhere: strategy is for a move"));
        }
        let client = self.database.client().await?;
        let mut results = database::remove(&client, actor, &choice.peer_ids, address).await?;
        drop(client);
        let leaving: Vec<Uuid> = peers(&results).collect();
        if choice.wait > 0 && !leaving.is_empty() {
            let states = self.wait_for(actor, &leaving, choice.wait, |left| left.is_empty()).await;
            for result in &mut results {
                result.peer = result.peer.take().filter(|peer| states.contains_key(&peer.peer_id));
            }
        }
        Ok(results)
    }

    /// Waits for the nodes of these peers, withdraws what they have not applied of this request, and says so in
    /// the results. Fails with 503 if that is so for all that had no error before.
    async fn settle(
        &self,
        actor: &Account,
        results: &mut [PeerResult],
        wait: u32,
        state: PeerState,
    ) -> Result<(), ApiError> {
        let changed: Vec<Uuid> = peers(results).collect();
        if wait == 0 || changed.is_empty() {
            return Ok(());
        }
        let decided =
            |states: &Outcomes| states.values().all(|applied| !matches!(applied, Applied::Pending(_)));
        let mut states = self.wait_for(actor, &changed, wait, decided).await;
        // A peer without an outcome was removed by somebody else.
        let missing = || Applied::Refused(Some("the peer was removed meanwhile".to_owned()));
        for id in &changed {
            states.entry(*id).or_insert_with(missing);
        }
        // A peer of an earlier request stays, whatever became of this one.
        let open: Vec<Uuid> = results
            .iter()
            .filter(|result| result.made != Some(false))
            .filter_map(|result| result.peer.as_ref())
            .map(|peer| peer.peer_id)
            .filter(|id| states.get(id) != Some(&Applied::Done))
            .collect();
        if !open.is_empty() {
            let reason = format!("not applied within {wait} s");
            let withdrawn = database::withdraw(&self.database.client().await?, actor, &open, &reason).await?;
            for id in open.iter().filter(|id| !withdrawn.contains(id)) {
                // Applied in the last moment, unless the node had refused it.
                states.entry(*id).and_modify(|applied| {
                    if matches!(applied, Applied::Pending(_)) {
                        *applied = Applied::Done;
                    }
                });
            }
        }
        write_outcomes(results, &states, wait, state)
    }

    /// Looks at what nodes have applied, again whenever one of them says something, until `decided` or the
    /// wait is over; answers what was seen last.
    async fn wait_for(
        &self,
        actor: &Account,
        ids: &[Uuid],
        wait: u32,
        decided: impl Fn(&Outcomes) -> bool,
    ) -> Outcomes {
        let end = Instant::now() + Duration::from_secs(wait.into());
        let pending = |id: &Uuid| (*id, Applied::Pending(None));
        let mut seen: Outcomes = ids.iter().map(pending).collect();
        let mut news = self.hub.any();
        loop {
            news.mark_unchanged();
            match self.applied(actor, ids).await {
                Ok(states) => seen = states,
                // It may be back before the end; what was wanted stays wanted meanwhile.
                Err(error) => tracing::warn!(%error, "cannot look at what nodes have applied"),
            }
            if decided(&seen) {
                return seen;
            }
            tokio::select! {
                _ = news.changed() => sleep(PAUSE).await,
                () = sleep_until(end) => return seen,
                () = self.stopping.cancelled() => return seen,
            }
        }
    }

    async fn applied(&self, actor: &Account, ids: &[Uuid]) -> Result<Outcomes, ApiError> {
        let states = database::applied(&self.database.client().await?, actor, ids).await?;
        Ok(states.into_iter().collect())
    }
}

/// Runs a request that waits apart from its client: one that goes away must not leave it undecided.
async fn decided<T: Send + 'static>(
    wait: u32,
    request: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    if wait == 0 {
        return request.await;
    }
    tokio::spawn(request).await.map_err(|error| ApiError::internal(&error))?
}

fn check(field: &str, items: usize, wait: u32) -> Result<(), ApiError> {
    if !(1..=MAX_BATCH).contains(&items) {
        let detail = format!("{items} peers are in the request");
        return Err(ApiError::bad_argument(detail)
            .field(field)
            .hint(format!("Send 1 to {MAX_BATCH} at a time.")));
    }
    if wait > MAX_WAIT {
        let detail = format!("wait is {wait} s");
        return Err(ApiError::bad_argument(detail).field("wait").hint(format!("Wait {MAX_WAIT} s at most.")));
    }
    Ok(())
}

fn deadline(wait: u32) -> Option<chrono::DateTime<Utc>> {
    (wait > 0).then(|| Utc::now() + TimeDelta::seconds(wait.into()) + GRACE)
}

/// The peers of items that did not fail.
fn peers(results: &[PeerResult]) -> impl Iterator<Item = Uuid> {
    results.iter().filter_map(|result| result.peer.as_ref()).map(|peer| peer.peer_id)
}

/// Writes what became of each peer into its result. Fails with 503 if none was applied.
fn write_outcomes(
    results: &mut [PeerResult],
    states: &Outcomes,
    wait: u32,
    state: PeerState,
) -> Result<(), ApiError> {
    let mut first = None;
    let mut done = false;
    for result in results.iter_mut() {
        let Some(peer) = &mut result.peer else { continue };
        match states.get(&peer.peer_id) {
            Some(Applied::Done) => {
                done = true;
                if peer.state == PeerState::Pending {
                    peer.state = state;
                }
            }
            outcome => {
                let node = peer.moving_to.as_deref().or(peer.node.as_deref());
                let error = not_applied(node, outcome, wait, result.made != Some(false));
                result.peer = None;
                result.error = Some(error.clone().into_item());
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if !done => Err(error),
        _ => Ok(()),
    }
}

/// 503: the node refused a peer, or did not answer in time. `withdrawn`: what this request wanted is.
fn not_applied(node: Option<&str>, outcome: Option<&Applied>, wait: u32, withdrawn: bool) -> ApiError {
    let end = if withdrawn {
        "The request was withdrawn."
    } else {
        "The peer is that of an earlier request, and stays."
    };
    let node = node.map_or_else(|| "this server".to_owned(), |name| format!("node \"{name}\""));
    match outcome {
        Some(Applied::Refused(reason)) => {
            let reason = reason.as_deref().unwrap_or("it gave no reason");
            ApiError::new(NO_NODE, format!("{node} refused it: {reason}"))
                .sqlstate(WRONG_STATE.sqlstate)
                .hint(format!("Remove the cause there, or choose another node. {end}"))
        }
        Some(Applied::Pending(Some(reason))) => {
            ApiError::new(NO_NODE, format!("{node} did not confirm it within {wait} s: {reason}"))
                .hint(format!("Choose another node, or wait longer. {end}"))
        }
        _ => ApiError::new(NO_NODE, format!("{node} did not confirm it within {wait} s"))
            .hint(format!("Choose another node, or wait longer. {end}")),
    }
}

/// The failure of a batch of one.
pub(crate) fn single(results: Vec<PeerResult>) -> Result<(), ApiError> {
    let error = results.into_iter().find_map(|result| result.error);
    error.map_or(Ok(()), |error| Err(ApiError::of_item(error)))
}

#[cfg(test)]
mod tests {
    use nebula_api::peer::ItemError;
    use serde_json::json;

    use super::*;

    fn result(item: u32) -> PeerResult {
        serde_json::from_value(json!({
            "item": item,
            "peer": {
                "peerId": Uuid::from_u128(item.into()), "projectId": Uuid::nil(), "name": "phone",
                "fileName": "phone", "publicKey": "", "addresses": ["10.77.0.2"], "nodeId": null, "node": "a",
                "movingTo": null, "reach": "overlay", "networks": [], "groups": [], "preshared": false,
                "state": "pending", "reason": null, "disabled": false, "expiresAt": null,
                "configOutdated": false, "handshakeAt": null, "endpoint": null, "receivedBytes": 0,
                "sentBytes": 0, "createdBy": "admin", "createdAt": "2026-11-30T04:00:00Z"
            }
        }))
        .unwrap()
    }

    fn outcomes(outcomes: [(u128, Applied); 2]) -> Outcomes {
        outcomes.into_iter().map(|(id, applied)| (Uuid::from_u128(id), applied)).collect()
    }

    #[test]
    fn a_batch_fails_as_a_whole_only_when_no_node_applied_any_of_it() {
        let refused = || Applied::Refused(Some("port 51820 is taken".into()));
        let mut results = vec![result(1), result(2)];
        let states = outcomes([(1, Applied::Done), (2, refused())]);
        write_outcomes(&mut results, &states, 5, PeerState::Active).unwrap();
        assert_eq!(results[0].peer.as_ref().unwrap().state, PeerState::Active);
        let error = results[1].error.as_ref().unwrap();
        assert!(results[1].peer.is_none() && error.detail.contains("port 51820 is taken"), "{error:?}");
        assert_eq!(error.sqlstate, "55000");

        let mut results = vec![result(1), result(2)];
        let states = outcomes([(1, Applied::Pending(None)), (2, refused())]);
        let failure = write_outcomes(&mut results, &states, 5, PeerState::Active).unwrap_err();
        assert_eq!((failure.meaning().status, failure.failure().sqlstate.as_str()), (503, "53000"));
        assert!(failure.failure().detail.contains("node \"a\" did not confirm it within 5 s"));
    }

    #[test]
    fn an_item_that_failed_before_does_not_count_as_refused_by_a_node() {
        let bad = ItemError { sqlstate: "23505".into(), detail: "taken".into(), hint: None };
        let mut results =
            vec![result(1), PeerResult { item: 2, peer: None, made: None, error: Some(bad.clone()) }];
        let states = outcomes([(1, Applied::Done), (9, Applied::Done)]);
        write_outcomes(&mut results, &states, 5, PeerState::Moving).unwrap();
        assert_eq!(results[1].error.as_ref(), Some(&bad));
        assert_eq!(single(results.split_off(1)).unwrap_err().meaning().status, 409);
    }

    #[test]
    fn a_batch_has_1_to_1000_items_and_waits_a_minute_at_most() {
        for (items, wait, good) in
            [(0, 0, false), (1, 60, true), (1000, 0, true), (1001, 0, false), (1, 61, false)]
        {
            assert_eq!(check("peers", items, wait).is_ok(), good, "{items} items, {wait} s");
        }
    }
}
