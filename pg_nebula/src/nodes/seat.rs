//! One seat on the node with the lowest score, below SQL: an UPDATE compiles the CHECK constraints and generated columns
//! of `nebula.node` anew each time, which costs several times what writing the row does.

use std::ffi::CStr;

use nebula_core::placement::{Filter, Room};
use pgrx::{IntoDatum, Uuid};

use super::choice::Choice;
use crate::direct::{Change, FoundRow, IndexScan, KeyRange, KeyValue, Table, UpdateOutcome, is_on};
use crate::pg::datum::timestamp::Timestamp;
use crate::pg::error::Result;
use crate::pg::session::clock;
use crate::pg::settings;

static NODE: Table = Table::new(
    c"node",
    &[
        c"node_id",
        c"active_peers",
        c"max_peers",
        c"soft_max_peers",
        c"weight",
        c"seen_at",
        c"name",
        c"score",
        c"choice",
    ],
)
.changing(&[c"active_peers", c"score", c"choice"]);

/// Numbers of columns in the list of [`NODE`].
mod column {
    pub(super) const NODE_ID: usize = 0;
    pub(super) const ACTIVE_PEERS: usize = 1;
    pub(super) const MAX_PEERS: usize = 2;
    pub(super) const SOFT_MAX_PEERS: usize = 3;
    pub(super) const WEIGHT: usize = 4;
    pub(super) const SEEN_AT: usize = 5;
    pub(super) const NAME: usize = 6;
    pub(super) const SCORE: usize = 7;
    pub(super) const CHOICE: usize = 8;
}

/// The nodes that may be chosen, by project, choice and name.
const BY_CHOICE: &CStr = c"node_choice_idx";

/// Result of [`claim`].
pub(super) enum DirectClaim {
    /// The node that has one more peer.
    Claimed(Uuid),
    /// Other sessions are about to take the seats of this node and of those that could be taken instead.
    Contended(Uuid),
    /// No node takes a peer, or this needs SQL.
    UseSql,
}

/// A node that was found first.
struct Lowest {
    node: Uuid,
    choice: f64,
    name: String,
    /// Nodes above this one wait until this node has its next peer.
    next_choice: f64,
}

/// Takes a seat on the first node that no other session has locked, as long as its score is not above that which the
/// first of all will have with one more peer. Only where every node is capable of hosting the peer.
pub(super) fn claim(choice: &Choice) -> Result<DirectClaim> {
    let Choice { project: Some(project), filter, except } = choice else { return Ok(DirectClaim::UseSql) };
    if !is_on() || *filter != Filter::default() || !except.is_empty() {
        return Ok(DirectClaim::UseSql);
    }
    let (own, shared) = ([KeyValue::uuid(*project)?], [KeyValue::no_uuid()?]);
    let mut scans = [&own, &shared].map(|equal| IndexScan {
        index: BY_CHOICE,
        equal,
        range: KeyRange::All,
        skip_points: None,
    });
    let reports_since = clock() - (settings::node_late_after() * 1e6) as i64;
    loop {
        let first = |scan| NODE.first_now(scan, |row| read_lowest(row, reports_since));
        let mut lowest = first(&scans[0])?;
        // Where the project has no node of its own, the scan that claims finds the lowest one.
        if let Some(own) = &lowest
            && let Some(shared) = first(&scans[1])?
            && (shared.choice, &shared.name) < (own.choice, &own.name)
        {
            lowest = Some(shared);
            scans.reverse();
        }
        let mut has_changed = false;
        for scan in &scans {
            let update = NODE.update_unlocked(scan, |row, values| {
                let Some(found) = read_lowest(row, reports_since) else { return Change::Skip };
                let lowest = lowest.get_or_insert_with(|| Lowest { name: String::new(), ..found });
                if found.choice > lowest.next_choice {
                    return Change::Stop;
                }
                let Some(room) = read_room(row) else { return Change::Skip };
                values[column::ACTIVE_PEERS] = (room.active_peers + 1).into_datum();
                values[column::SCORE] = room.score(1).into_datum();
                values[column::CHOICE] = room.choice(1).into_datum();
                Change::To(found.node)
            })?;
            has_changed |= update.has_changed;
            match update.outcome {
                UpdateOutcome::Updated(node) => return Ok(DirectClaim::Claimed(node)),
                UpdateOutcome::UseSql => return Ok(DirectClaim::UseSql),
                UpdateOutcome::NotFound => {}
            }
        }
        match lowest {
            _ if has_changed => {}
            Some(lowest) => return Ok(DirectClaim::Contended(lowest.node)),
            None => return Ok(DirectClaim::UseSql),
        }
    }
}

/// `None`: the node does not report.
fn read_lowest(row: &FoundRow<'_>, reports_since: i64) -> Option<Lowest> {
    let seen_at: Option<Timestamp> = row.read(column::SEEN_AT);
    if seen_at.is_some_and(|Timestamp(seen_at)| seen_at < reports_since) {
        return None;
    }
    Some(Lowest {
        node: row.read(column::NODE_ID)?,
        choice: row.read(column::CHOICE)?,
        name: row.read(column::NAME)?,
        next_choice: read_room(row)?.choice(1),
    })
}

fn read_room(row: &FoundRow<'_>) -> Option<Room> {
    Some(Room {
        active_peers: row.read(column::ACTIVE_PEERS)?,
        max_peers: row.read(column::MAX_PEERS)?,
        soft_max_peers: row.read(column::SOFT_MAX_PEERS),
        weight: row.read(column::WEIGHT)?,
    })
}
