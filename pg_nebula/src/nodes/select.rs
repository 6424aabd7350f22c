//! Choosing a node for the next peer.

use nebula_core::placement::{Candidate, Ineligibility, REPORT_TIMEOUT_SECONDS, Strategy, ineligibility};
use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::statement::{Row, Statement};

/// A node, its score, and what decides whether it is eligible.
struct ScoredNode {
    id: Uuid,
    name: String,
    weight: i32,
    score: f64,
    candidate: Candidate,
}

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
    let nodes = scored_nodes(None)?;
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

fn scored_nodes(capability: Option<&str>) -> Result<Vec<ScoredNode>> {
    static SCORES: Statement = Statement::new(
        "SELECT node_id, name, weight, score, enabled, active_peers, max_peers,
                extract(epoch FROM clock_timestamp() - seen_at)::double precision,
                $1 IS NULL OR $1 = ANY (capabilities)
           FROM nebula.node ORDER BY score, name",
    );
    SCORES.query(&[capability.into()], |row: &Row<'_>| {
        Ok(ScoredNode {
            id: row.need(1)?,
            name: row.need(2)?,
            weight: row.need(3)?,
            score: row.need(4)?,
            candidate: Candidate {
                enabled: row.need(5)?,
                active_peers: row.need(6)?,
                max_peers: row.need(7)?,
                seconds_since_report: row.get(8)?,
                capable: row.need(9)?,
            },
        })
    })
}

#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn select_node(
    strategy: default!(Option<&str>, "'auto'"),
    capability: default!(Option<&str>, "NULL"),
) -> sql::Result<Option<Uuid>> {
    // Reads the partial index on (score, name) of nodes below max_peers and stops at the first one that
    // reports.
    static LOWEST: Statement = Statement::new(
        "SELECT node_id FROM nebula.node
          WHERE enabled AND active_peers < max_peers
            AND (seen_at IS NULL OR seen_at >= clock_timestamp() - make_interval(secs => $1))
            AND ($2 IS NULL OR $2 = ANY (capabilities))
          ORDER BY score, name LIMIT 1",
    );
    static ANY: Statement = Statement::new(
        "SELECT node_id FROM nebula.node
          WHERE enabled AND active_peers < max_peers
            AND (seen_at IS NULL OR seen_at >= clock_timestamp() - make_interval(secs => $1))
            AND ($2 IS NULL OR $2 = ANY (capabilities))
          ORDER BY random() LIMIT 1",
    );
    let strategy = required(strategy, "strategy")?;
    let parsed = strategy.parse().map_err(|()| {
        Error::bad_argument(
            format!("there is no strategy \"{strategy}\""),
            "Known are 'auto' (lowest score), 'random' and 'name:NAME'.",
        )
    })?;
    let statement = match parsed {
        Strategy::Auto => &LOWEST,
        Strategy::Random => &ANY,
        Strategy::Named(name) => return Ok(Some(named_node(&name, capability)?)),
    };
    if let Some(node) =
        statement.query_opt(&[REPORT_TIMEOUT_SECONDS.into(), capability.into()], |row| row.need(1))?
    {
        return Ok(Some(node));
    }
    let nodes = scored_nodes(capability)?;
    if nodes.is_empty() {
        return Ok(None);
    }
    Err(none_eligible(&nodes).into())
}

fn named_node(name: &str, capability: Option<&str>) -> Result<Uuid> {
    let nodes = scored_nodes(capability)?;
    let node = nodes.iter().find(|node| node.name == name).ok_or_else(|| {
        Error::new(
            Kind::Missing,
            format!("there is no node \"{name}\""),
            "List nodes: SELECT name FROM nebula.node.",
        )
    })?;
    match ineligibility(&node.candidate) {
        None => Ok(node.id),
        Some(reason) => Err(Error::new(
            Kind::NoNode,
            format!("node \"{name}\" takes no peer: {reason}"),
            "Choose another node, or use strategy 'auto'.",
        )),
    }
}

fn none_eligible(nodes: &[ScoredNode]) -> Error {
    let reasons: Vec<Ineligibility> =
        nodes.iter().filter_map(|node| ineligibility(&node.candidate)).collect();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for word in reasons.iter().map(|reason| reason.category()) {
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let list: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    Error::new(
        Kind::NoNode,
        format!("none of {} nodes takes a peer: {}", nodes.len(), list.join(", ")),
        "See SELECT * FROM nebula.node_scores(); raise max_peers or register another node.",
    )
}
