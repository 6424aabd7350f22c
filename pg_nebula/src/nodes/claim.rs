//! Taking seats on nodes.
//!
//! A node whose row another session has locked is about to get one more peer. It is skipped, and
//! the nodes behind it are taken as long as their score is not above the one that it will have then. So seats spread as if
//! they were taken one after the other, while sessions work on different nodes at the same time.

use nebula_core::placement::{Room, Strategy, distribute};
use pgrx::Uuid;
use pgrx::prelude::*;

use super::criteria::{Criteria, named_node, none_eligible, open_nodes, parse_strategy};
use super::lowest::lowest;
use super::seat::{self, DirectClaim};
use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::privilege::as_owner_by_index;
use crate::pg::statement::Statement;
use crate::pg::subtransaction::commit_if;

// For functions in SQL, which are SECURITY DEFINER.
#[pg_extern]
fn claim_seat(p_project_id: Option<Uuid>, p_strategy: Option<&str>) -> sql::Result<Option<Uuid>> {
    let project = Some(required(p_project_id, "p_project_id")?);
    let claimed = claim(parse_strategy(p_strategy)?, 1, Criteria { project, ..Criteria::default() })?;
    Ok(claimed.first().map(|(node, _)| *node))
}

// For functions in SQL, which are SECURITY DEFINER.
#[pg_extern]
fn claim_seats(
    p_project_id: Option<Uuid>,
    p_strategy: Option<&str>,
    p_seats: Option<i32>,
    p_except: default!(Option<Vec<Uuid>>, "'{}'"),
) -> sql::Result<TableIterator<'static, (name!(node_id, Uuid), name!(seats, i32))>> {
    let (strategy, seats) = (parse_strategy(p_strategy)?, required(p_seats, "p_seats")?);
    let criteria = Criteria {
        project: Some(required(p_project_id, "p_project_id")?),
        except: p_except.unwrap_or_default(),
        ..Criteria::default()
    };
    Ok(TableIterator::new(claim(strategy, seats, criteria)?))
}

/// A node and seats taken on it.
type Claimed = (Uuid, i32);

/// Empty: this server.
fn claim(strategy: Strategy, seats: i32, criteria: Criteria) -> Result<Vec<Claimed>> {
    Ok(match strategy {
        Strategy::Local => Vec::new(),
        Strategy::Named(name) => vec![claim_named(&name, false, &criteria, seats)?],
        Strategy::Node(name) => vec![claim_named(&name, true, &criteria, seats)?],
        Strategy::Auto(filter) if seats == 1 => claim_lowest(&Criteria { filter, ..criteria })?,
        Strategy::Auto(filter) => claim_many(&Criteria { filter, ..criteria }, seats, false)?,
        Strategy::Random => claim_many(&criteria, seats, true)?,
    })
}

/// One seat on the node with the lowest score. Empty: there are no nodes.
fn claim_lowest(criteria: &Criteria) -> Result<Vec<Claimed>> {
    // Mostly the lowest one is free. The others are sorted, which costs more the more nodes have the same rank.
    static LOWEST: Statement = Statement::new(concat!(
        "UPDATE nebula.node SET active_peers = active_peers + 1
          WHERE node_id = (SELECT node_id FROM nebula.node
                            WHERE node_id = $8 AND rank <= $7 AND (project_id IS NULL OR project_id = $1) AND ",
        open_nodes!(),
        " FOR NO KEY UPDATE SKIP LOCKED)
         RETURNING node_id",
    ));
    static OF_PROJECT: Statement = Statement::new(concat!(
        "UPDATE nebula.node SET active_peers = active_peers + 1
          WHERE node_id = (SELECT node_id FROM nebula.node
                            WHERE project_id = $1 AND rank_bound <= $7 AND rank <= $7 AND ",
        open_nodes!(),
        " ORDER BY rank, name COLLATE \"C\" LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
         RETURNING node_id",
    ));
    static SHARED: Statement = Statement::new(concat!(
        "UPDATE nebula.node SET active_peers = active_peers + 1
          WHERE node_id = (SELECT node_id FROM nebula.node
                            WHERE project_id IS NULL AND rank_bound <= $7 AND rank <= $7 AND ",
        open_nodes!(),
        " ORDER BY rank, name COLLATE \"C\" LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
         RETURNING node_id",
    ));
    loop {
        match seat::claim(criteria)? {
            DirectClaim::Claimed(node) => return Ok(vec![(node, 1)]),
            DirectClaim::Contended(node) => {
                if claim_after_wait(criteria, node)? {
                    return Ok(vec![(node, 1)]);
                }
                continue;
            }
            DirectClaim::UseSql => {}
        }
        let Some(lowest) = lowest(criteria)? else { return none_eligible(criteria).map(|_| Vec::new()) };
        let mut values = Vec::from(criteria.values());
        values.extend([lowest.next_rank.into(), lowest.node.into()]);
        let mut statements = [&LOWEST, &OF_PROJECT, &SHARED];
        if lowest.is_shared {
            statements.swap(1, 2);
        }
        for statement in statements {
            // Undone unless it claims: a node that has changed since the snapshot is locked before it turns out not to
            // fit any more, and a session that waits for one node must not have locked another.
            let claim = || as_owner_by_index(|| statement.query_opt(&values, |row| row.need(1)));
            if let Some(node) = commit_if(claim, |claimed| matches!(claimed, Ok(Some(_))))? {
                return Ok(vec![(node, 1)]);
            }
        }
        if claim_after_wait(criteria, lowest.node)? {
            return Ok(vec![(lowest.node, 1)]);
        }
    }
}

/// Waits until no other session has locked a node, and takes a seat on it if it is the lowest one then. Otherwise the
/// lock is given up, because a session that waits must not have locked another node. It is not given up in any case: the
/// next one of several that wait would get it, and each would find it locked when it comes back to claim it.
fn claim_after_wait(criteria: &Criteria, node: Uuid) -> Result<bool> {
    static LOCK: Statement = Statement::new("SELECT FROM nebula.node WHERE node_id = $1 FOR NO KEY UPDATE");
    static TAKE: Statement =
        Statement::new("UPDATE nebula.node SET active_peers = active_peers + 1 WHERE node_id = $1");
    let claim = || {
        LOCK.run(&[node.into()])?;
        let is_lowest = lowest(criteria)?.is_some_and(|lowest| lowest.node == node);
        if is_lowest {
            TAKE.run(&[node.into()])?;
        }
        Ok(is_lowest)
    };
    commit_if(claim, |claimed| matches!(claimed, Ok(true)))
}

/// Seats on the node with this name, or `or_id` this identifier.
fn claim_named(name: &str, or_id: bool, criteria: &Criteria, seats: i32) -> Result<Claimed> {
    static LOCK: Statement = Statement::new("SELECT FROM nebula.node WHERE node_id = $1 FOR NO KEY UPDATE");
    static TAKE: Statement = Statement::new(
        "UPDATE nebula.node SET active_peers = least(active_peers + $2, max_peers) WHERE node_id = $1
         RETURNING active_peers",
    );
    static TAKEN: Statement = Statement::new("SELECT active_peers FROM nebula.node WHERE node_id = $1");
    let node = named_node(name, or_id, criteria)?;
    LOCK.run(&[node.into()])?;
    // Again: the last seat may have been taken before the row was locked.
    let node = named_node(name, or_id, criteria)?;
    let before: Option<i32> = TAKEN.query_opt(&[node.into()], |row| row.need(1))?;
    let after: Option<i32> = TAKE.query_opt(&[node.into(), seats.into()], |row| row.need(1))?;
    match (before, after) {
        (Some(before), Some(after)) => Ok((node, after - before)),
        _ => Err(Error::new(
            Kind::Missing,
            format!("node \"{name}\" was removed meanwhile"),
            "Choose another node, or use strategy 'auto'.",
        )),
    }
}

/// Many seats at once: locks all nodes that take peers, in the order of their identifiers.
fn claim_many(criteria: &Criteria, seats: i32, random: bool) -> Result<Vec<Claimed>> {
    static LOCK: Statement = Statement::new(concat!(
        "SELECT node_id, active_peers, max_peers, soft_max_peers, weight, rank, name, random()
           FROM nebula.node
          WHERE (project_id IS NULL OR project_id = $1) AND ",
        open_nodes!(),
        " ORDER BY node_id FOR NO KEY UPDATE",
    ));
    static TAKE: Statement =
        Statement::new("UPDATE nebula.node SET active_peers = active_peers + $2 WHERE node_id = $1");
    let mut nodes = LOCK.query(&criteria.values(), |row| {
        let room = Room {
            active_peers: row.need(2)?,
            max_peers: row.need(3)?,
            soft_max_peers: row.get(4)?,
            weight: row.need(5)?,
        };
        let order: f64 = if random { row.need(8)? } else { row.need(6)? };
        Ok((order, row.need::<String>(7)?, row.need::<Uuid>(1)?, room))
    })?;
    if nodes.is_empty() {
        return none_eligible(criteria).map(|_| Vec::new());
    }
    nodes.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    // In a random order the first nodes get what fits.
    let given = if random {
        let mut left = seats;
        let mut take = |room: &Room| {
            let taken = left.min(room.max_peers - room.active_peers);
            left -= taken;
            taken
        };
        nodes.iter().map(|(.., room)| take(room)).collect()
    } else {
        let rooms: Vec<Room> = nodes.iter().map(|(.., room)| *room).collect();
        distribute(&rooms, seats)
    };
    let mut claimed = Vec::new();
    for ((.., node, _), seats) in nodes.into_iter().zip(given).filter(|(_, seats)| *seats > 0) {
        TAKE.run(&[node.into(), seats.into()])?;
        claimed.push((node, seats));
    }
    Ok(claimed)
}
