//! One seat on the node with the lowest score, below SQL: an UPDATE compiles the CHECK constraints and generated columns
//! of `nebula.node` anew each time, which costs several times what writing the row does.

use nebula_core::placement::{Filter, Room};
use nebula_core::ranking::{Ranked, Ranking};
use pgrx::{IntoDatum, Uuid};

use super::criteria::Criteria;
use crate::direct::{
    Change, FoundRow, IndexScan, KeyRange, KeyValue, Table, UnlockedUpdate, UpdateOutcome, is_on,
};
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::session::clock;
use crate::pg::settings;

static NODE: Table = Table::new(
    c"node",
    &[
        c"node_id",
        c"project_id",
        c"enabled",
        c"device_gone",
        c"active_peers",
        c"max_peers",
        c"soft_max_peers",
        c"weight",
        c"seen_at",
        c"name",
        c"score",
        c"rank",
        c"rank_step",
        c"rank_bound",
    ],
)
.changing(&[c"active_peers", c"score", c"rank", c"rank_bound"]);

/// Numbers of columns in the list of [`NODE`].
mod column {
    pub(super) const NODE_ID: usize = 0;
    pub(super) const PROJECT_ID: usize = 1;
    pub(super) const ENABLED: usize = 2;
    pub(super) const DEVICE_GONE: usize = 3;
    pub(super) const ACTIVE_PEERS: usize = 4;
    pub(super) const MAX_PEERS: usize = 5;
    pub(super) const SOFT_MAX_PEERS: usize = 6;
    pub(super) const WEIGHT: usize = 7;
    pub(super) const SEEN_AT: usize = 8;
    pub(super) const NAME: usize = 9;
    pub(super) const SCORE: usize = 10;
    pub(super) const RANK: usize = 11;
    pub(super) const RANK_STEP: usize = 12;
    pub(super) const RANK_BOUND: usize = 13;
}

/// Nodes that are looked for at first; eight times as many when other sessions have taken all of them.
const FIRST_NODES: usize = 8;

/// Result of [`claim`].
pub(super) enum DirectClaim {
    /// The node that has one more peer.
    Claimed(Uuid),
    /// Other sessions are about to take the seats of this node and of those that could be taken instead.
    Contended(Uuid),
    /// No node takes a peer, or this needs SQL.
    UseSql,
}

/// Takes a seat on the first node that no other session has locked, as long as its score is not above that which the
/// first of all will have with one more peer. Only where every node is capable of hosting the peer.
pub(super) fn claim(criteria: &Criteria) -> Result<DirectClaim> {
    let Criteria { project: Some(project), filter, except } = criteria else {
        return Ok(DirectClaim::UseSql);
    };
    if !is_on() || *filter != Filter::default() || !except.is_empty() {
        return Ok(DirectClaim::UseSql);
    }
    let mut wanted = Wanted {
        project: *project,
        reports_since: clock() - (settings::node_late_after() * 1e6) as i64,
        limit: f64::INFINITY,
    };
    let mut max = FIRST_NODES;
    loop {
        let Some(ranking) = wanted.rank(max)? else { return Ok(DirectClaim::UseSql) };
        let Some(lowest) = ranking.lowest() else { return Ok(DirectClaim::UseSql) };
        wanted.limit = lowest.next_rank;
        let mut has_changed = false;
        for node in ranking.unlocked() {
            let update = wanted.take(node.node)?;
            has_changed |= update.has_changed;
            match update.outcome {
                UpdateOutcome::Updated(()) => return Ok(DirectClaim::Claimed(node.node)),
                UpdateOutcome::UseSql => return Ok(DirectClaim::UseSql),
                UpdateOutcome::NotFound => {}
            }
        }
        if ranking.is_cut() {
            max *= 8;
        } else if !has_changed {
            return Ok(DirectClaim::Contended(lowest.node));
        }
    }
}

/// The demands on a node.
struct Wanted {
    project: Uuid,
    reports_since: i64,
    /// Highest rank.
    limit: f64,
}

impl Wanted {
    /// The first nodes of the project and of those that are shared; `None`: this needs SQL.
    fn rank(&self, max: usize) -> Result<Option<Ranking<Uuid>>> {
        let mut ranking = Ranking::new(max);
        for project in [KeyValue::uuid(self.project)?, KeyValue::no_uuid()?] {
            let equal = [project];
            let scan =
                IndexScan { index: c"node_rank_idx", equal: &equal, range: KeyRange::All, skip_points: None };
            let is_read = NODE.visit_now(&scan, |row, is_locked| {
                let bound = row.read(column::RANK_BOUND).unwrap_or(f64::INFINITY);
                let name = row.read(column::NAME).unwrap_or_default();
                let ranked = |name| {
                    self.read(row).map(|(node, room)| Ranked {
                        rank: room.rank(0),
                        name,
                        node,
                        next_rank: room.rank(1),
                        is_locked,
                    })
                };
                bound.is_finite() && ranking.visit(bound, name, ranked)
            })?;
            if !is_read {
                return Ok(None);
            }
            ranking.end_scan();
        }
        Ok(Some(ranking))
    }

    /// Takes a seat on a node, unless another session has locked it. `NotFound` and `has_changed` when the node is not as
    /// wanted any more.
    fn take(&self, node: Uuid) -> Result<UnlockedUpdate<()>> {
        let key = [KeyValue::uuid(node)?];
        let mut has_changed = false;
        let mut update = NODE.update_unlocked(&IndexScan::exact(c"node_pkey", &key), |row, values| {
            let room = self.read(row).map(|(_, room)| room).filter(|room| room.rank(0) <= self.limit);
            let (Some(room), Some(step)) = (room, row.read(column::RANK_STEP)) else {
                has_changed = true;
                return Change::Stop;
            };
            values[column::ACTIVE_PEERS] = (room.active_peers + 1).into_datum();
            values[column::SCORE] = room.score(1).into_datum();
            values[column::RANK] = room.rank(1).into_datum();
            values[column::RANK_BOUND] = room.rank_bound(1, step).into_datum();
            Change::To(())
        })?;
        update.has_changed |= has_changed;
        Ok(update)
    }

    /// `None`: the node takes no peer of the project.
    fn read(&self, row: &FoundRow<'_>) -> Option<(Uuid, Room)> {
        let reports = |Timestamp(seen_at)| seen_at >= self.reports_since;
        let takes_peers = row.read(column::ENABLED) == Some(true)
            && row.get(column::DEVICE_GONE).is_none()
            && row.read(column::PROJECT_ID).is_none_or(|project: Uuid| project == self.project)
            && row.read(column::SEEN_AT).is_none_or(reports);
        let room = Room {
            active_peers: row.read(column::ACTIVE_PEERS)?,
            max_peers: row.read(column::MAX_PEERS)?,
            soft_max_peers: row.read(column::SOFT_MAX_PEERS),
            weight: row.read(column::WEIGHT)?,
        };
        (takes_peers && room.active_peers < room.max_peers).then_some((row.read(column::NODE_ID)?, room))
    }
}
