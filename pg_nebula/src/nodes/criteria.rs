//! Which nodes there are to choose from, and why one is not chosen.

use nebula_core::placement::{Candidate, DeviceGone, Filter, Strategy, ineligibility};
use pgrx::Uuid;
use pgrx::datum::DatumWithOid;

use crate::pg::error::{Error, Kind, Result, required};
use crate::pg::settings;
use crate::pg::statement::{Row, Statement};

/// A node, its score, and what decides whether it is eligible.
pub(super) struct ScoredNode {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) weight: i32,
    pub(super) score: f64,
    pub(super) candidate: Candidate,
}

/// Which nodes there are to choose from.
#[derive(Default)]
pub(super) struct Criteria {
    /// Those of this project and of none; `None`: all.
    pub(super) project: Option<Uuid>,
    pub(super) filter: Filter,
    /// Not these.
    pub(super) except: Vec<Uuid>,
}

impl Criteria {
    /// Parameters $1 to $6 of the statements that choose.
    pub(super) fn values(&self) -> [DatumWithOid<'_>; 6] {
        let Filter { capability, label, value } = &self.filter;
        [
            self.project.into(),
            settings::node_late_after().into(),
            capability.as_deref().into(),
            label.as_deref().into(),
            value.as_deref().into(),
            self.except.clone().into(),
        ]
    }
}

/// Nodes by rank, without this server's own and those of other projects, each with the facts that decide.
pub(super) fn scored_nodes(criteria: &Criteria) -> Result<Vec<ScoredNode>> {
    static SCORES: Statement = Statement::new(
        "SELECT node_id, name, weight, score, enabled AND desired_state <> 'disabled',
                desired_state = 'draining', active_peers, max_peers,
                extract(epoch FROM clock_timestamp() - seen_at)::double precision,
                ($3 IS NULL OR $3 = ANY (capabilities))
                AND ($4 IS NULL OR labels ? $4 AND ($5 IS NULL OR labels ->> $4 = $5))
                AND node_id <> ALL ($6),
                $2::double precision, device_gone
           FROM nebula.node
          WHERE NOT local AND ($1 IS NULL OR project_id IS NULL OR project_id = $1)
          ORDER BY rank, name COLLATE \"C\"",
    );
    SCORES.query(&criteria.values(), |row: &Row<'_>| {
        let device_gone: Option<String> = row.get(12)?;
        Ok(ScoredNode {
            id: row.need(1)?,
            name: row.need(2)?,
            weight: row.need(3)?,
            score: row.need(4)?,
            candidate: Candidate {
                enabled: row.need(5)?,
                draining: row.need(6)?,
                active_peers: row.need(7)?,
                max_peers: row.need(8)?,
                seconds_since_report: row.get(9)?,
                capable: row.need(10)?,
                late_after: row.need(11)?,
                device_gone: device_gone.map(|how| match how.as_str() {
                    "revoked" => DeviceGone::Revoked,
                    _ => DeviceGone::Removed,
                }),
            },
        })
    })
}

/// The strategy in an argument.
pub(super) fn parse_strategy(strategy: Option<&str>) -> Result<Strategy> {
    let strategy = required(strategy, "strategy")?;
    strategy.parse().map_err(|()| {
        Error::bad_argument(
            format!("there is no strategy \"{}\"", strategy.chars().take(100).collect::<String>()),
            "Known are auto (lowest score), random, local, capability:WORD, label:KEY=VALUE, name:NAME, and \
             the name or identifier of a node.",
        )
    })
}

/// The eligible node with this name, or `or_id` this identifier.
pub(super) fn named_node(name: &str, or_id: bool, criteria: &Criteria) -> Result<Uuid> {
    let nodes = scored_nodes(criteria)?;
    let is_it = |node: &&ScoredNode| node.name == name || or_id && node.id.to_string() == name.to_lowercase();
    let node = nodes.iter().find(is_it).ok_or_else(|| {
        Error::new(
            Kind::Missing,
            format!("there is no node \"{}\"", name.chars().take(100).collect::<String>()),
            "List nodes: nebulactl node ls, or SELECT name FROM nebula.node_status. Strategies with other words are \
             auto, random, local, capability:WORD and label:KEY=VALUE.",
        )
    })?;
    let name = &node.name;
    match ineligibility(&node.candidate) {
        None => Ok(node.id),
        Some(_) if criteria.except.contains(&node.id) => Err(Error::new(
            Kind::NoNode,
            format!("node \"{name}\" has the peer already"),
            "Choose another node, or use strategy 'auto'.",
        )),
        Some(reason) => Err(Error::new(
            Kind::NoNode,
            format!("node \"{name}\" takes no peer: {reason}"),
            "Choose another node, or use strategy 'auto'.",
        )),
    }
}

/// The error when no node is eligible; `None` when there are no nodes at all.
pub(super) fn none_eligible(criteria: &Criteria) -> Result<Option<Uuid>> {
    let nodes = scored_nodes(criteria)?;
    if nodes.is_empty() {
        return Ok(None);
    }
    let category = |node: &ScoredNode| {
        if criteria.except.contains(&node.id) {
            return Some("with the peer already");
        }
        ineligibility(&node.candidate).map(|reason| reason.category())
    };
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for word in nodes.iter().filter_map(category) {
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let list: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    Err(Error::new(
        Kind::NoNode,
        format!("none of {} nodes takes a peer: {}", nodes.len(), list.join(", ")),
        "See SELECT * FROM nebula.node_scores(); raise max_peers or register another node.",
    ))
}

/// Nodes that take peers and that the filter lets through; parameters as of [`Criteria::values`].
macro_rules! open_nodes {
    () => {
        "enabled AND desired_state = 'active' AND NOT local AND device_gone IS NULL AND active_peers < max_peers
         AND (seen_at IS NULL OR seen_at >= clock_timestamp() - make_interval(secs => $2))
         AND ($3 IS NULL OR $3 = ANY (capabilities))
         AND ($4 IS NULL OR labels ? $4 AND ($5 IS NULL OR labels ->> $4 = $5))
         AND node_id <> ALL ($6)"
    };
}
pub(super) use open_nodes;
