//! Selection of a node for the next peer, for SQL.

use nebula_core::placement::{Filter, Strategy, ineligibility};
use pgrx::Uuid;
use pgrx::prelude::*;

use super::criteria::{Criteria, named_node, none_eligible, parse_strategy, scored_nodes};
use super::lowest::lowest;
use crate::pg::error::{Result, required, sql};
use crate::pg::statement::Statement;

#[pg_extern(stable, security_definer)]
#[search_path(nebula, pg_temp)]
#[expect(clippy::type_complexity, reason = "the shape of an SQL row")]
fn node_scores() -> sql::Result<
    TableIterator<
        'static,
        (
            name!(node_id, Uuid),
            name!(name, String),
            name!(active_peers, i32),
            name!(max_peers, i32),
            name!(weight, i32),
            name!(score, f64),
            name!(eligible, bool),
            name!(reason, Option<String>),
        ),
    >,
> {
    let nodes = scored_nodes(&Criteria::default())?;
    Ok(TableIterator::new(nodes.into_iter().map(|node| {
        let reason = ineligibility(&node.candidate);
        (
            node.id,
            node.name,
            node.candidate.active_peers,
            node.candidate.max_peers,
            node.weight,
            node.score,
            reason.is_none(),
            reason.map(|r| r.to_string()),
        )
    })))
}

#[pg_extern(name = "select_node", security_definer)]
#[search_path(nebula, pg_temp)]
fn choose_for_new_peer(
    strategy: default!(Option<&str>, "'auto'"),
    capability: default!(Option<&str>, "NULL"),
    project_id: default!(Option<Uuid>, "NULL"),
) -> sql::Result<Option<Uuid>> {
    let mut criteria = Criteria { project: project_id, ..Criteria::default() };
    criteria.filter.capability = capability.map(str::to_owned);
    Ok(choose(strategy, criteria)?)
}

// select_node for a peer that some nodes have already.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn choose_node(
    p_project_id: Option<Uuid>,
    p_strategy: Option<&str>,
    p_except: Option<Vec<Uuid>>,
) -> sql::Result<Option<Uuid>> {
    let project = Some(required(p_project_id, "p_project_id")?);
    Ok(choose(p_strategy, Criteria { project, except: p_except.unwrap_or_default(), ..Criteria::default() })?)
}

/// The node that a strategy chooses, without taking a seat on it; `None`: this server.
fn choose(strategy: Option<&str>, mut criteria: Criteria) -> Result<Option<Uuid>> {
    static ANY: Statement = Statement::new(
        "SELECT node_id FROM nebula.node
          WHERE enabled AND desired_state = 'active' AND NOT local AND device_gone IS NULL
            AND active_peers < max_peers
            AND ($1 IS NULL OR project_id IS NULL OR project_id = $1)
            AND (seen_at IS NULL OR seen_at >= clock_timestamp() - make_interval(secs => $2))
            AND ($3 IS NULL OR $3 = ANY (capabilities))
            AND ($4 IS NULL OR labels ? $4 AND ($5 IS NULL OR labels ->> $4 = $5))
            AND node_id <> ALL ($6)
          ORDER BY random() LIMIT 1",
    );
    let found = match parse_strategy(strategy)? {
        Strategy::Local => return Ok(None),
        Strategy::Named(name) => return Ok(Some(named_node(&name, false, &criteria)?)),
        Strategy::Node(name) => return Ok(Some(named_node(&name, true, &criteria)?)),
        Strategy::Random => ANY.query_opt(&criteria.values(), |row| row.need(1))?,
        Strategy::Auto(filter) => {
            criteria.filter =
                Filter { capability: filter.capability.or(criteria.filter.capability), ..filter };
            lowest(&criteria)?.map(|lowest| lowest.node)
        }
    };
    if found.is_some() { Ok(found) } else { none_eligible(&criteria) }
}
