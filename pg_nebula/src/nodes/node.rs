//! Nodes: servers that host peers and workers.

use crate::pg::error::sql;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::pg::datum::inet::checked_cidr;
use crate::pg::error::{Error, Kind, Result, required};
use crate::pg::statement::{Row, Statement};
use nebula_core::placement::{Candidate, Ineligibility, REPORT_TIMEOUT_SECONDS, Strategy, ineligibility};

/// A node with its score.
struct Scored {
    id: Uuid,
    name: String,
    weight: i32,
    score: f64,
    candidate: Candidate,
}

/// Makes a node known, or brings what is known of it up to date, and answers its identifier.
///
/// `endpoint` is host:port on the underlay, `cidr` the range its peers get addresses from.
/// Errors: 22023 malformed argument, 23505 range overlapping another node's, 55000 hosts more peers than max_peers.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn register_node(
    name: Option<&str>,
    endpoint: Option<&str>,
    weight: default!(Option<i32>, 100),
    max_peers: default!(Option<i32>, 100),
    cidr: default!(Option<Inet>, "NULL"),
    capabilities: default!(Option<Vec<String>>, "'{}'"),
) -> sql::Result<Uuid> {
    Ok(register(
        required(name, "name")?,
        required(endpoint, "endpoint")?,
        required(weight, "weight")?,
        required(max_peers, "max_peers")?,
        cidr,
        capabilities.unwrap_or_default(),
    )?)
}

fn register(
    name: &str,
    endpoint: &str,
    weight: i32,
    max_peers: i32,
    cidr: Option<Inet>,
    capabilities: Vec<String>,
) -> Result<Uuid> {
    // The patterns are the table's own checks, asked beforehand for a better sentence.
    static GOOD_NAME: Statement = Statement::new("SELECT WHERE $1 ~ '^[[:alnum:]][[:alnum:]._-]{0,62}$'");
    static GOOD_ENDPOINT: Statement = Statement::new(
        r"SELECT WHERE $1 ~ '^(\[[0-9a-fA-F:.]+\]|[^][\s:]+):[0-9]{1,5}$'
             AND substring($1 FROM '[0-9]+$')::integer BETWEEN 1 AND 65535",
    );
    static SERIALIZE: Statement = Statement::new("LOCK TABLE nebula.node IN SHARE ROW EXCLUSIVE MODE");
    static OVERLAP: Statement =
        Statement::new("SELECT name FROM nebula.node WHERE cidr && $2 AND name <> $1 ORDER BY name LIMIT 1");
    static CROWDED: Statement =
        Statement::new("SELECT active_peers FROM nebula.node WHERE name = $1 AND active_peers > $2");
    static UPSERT: Statement = Statement::new(
        "INSERT INTO nebula.node (name, endpoint, weight, max_peers, cidr, capabilities)
         VALUES ($1, $2, $3, $4, $5::cidr, $6)
         ON CONFLICT (name) DO UPDATE
            SET endpoint = EXCLUDED.endpoint, weight = EXCLUDED.weight, max_peers = EXCLUDED.max_peers,
                cidr = EXCLUDED.cidr, capabilities = EXCLUDED.capabilities
         RETURNING node_id",
    );
    if !GOOD_NAME.exists(&[name.into()])? {
        return Err(Error::bad_argument(
            format!("\"{name}\" is no node name"),
            "Start with a letter or digit, then up to 62 letters, digits, dots, underscores or dashes.",
        ));
    }
    if !GOOD_ENDPOINT.exists(&[endpoint.into()])? {
        return Err(Error::bad_argument(
            format!("endpoint \"{endpoint}\" of node \"{name}\" is not host:port"),
            "For example node.example.org:51820 or [2001:db8::1]:51820.",
        ));
    }
    in_range("weight", weight, 1, 10_000)?;
    in_range("max_peers", max_peers, 1, 1_000_000)?;
    // Registering is rare; one at a time keeps the ranges apart without a second index.
    SERIALIZE.run(&[])?;
    if let Some(cidr) = &cidr {
        let network = checked_cidr(cidr)?;
        if let Some(other) =
            OVERLAP.query_opt(&[name.into(), cidr.clone().into()], |row| row.need::<String>(1))?
        {
            return Err(Error::new(
                Kind::Exists,
                format!("{network} overlaps the range of node \"{other}\""),
                "Give each node a range of its own.",
            ));
        }
    }
    if let Some(active) = CROWDED.query_opt(&[name.into(), max_peers.into()], |row| row.need::<i32>(1))? {
        return Err(Error::new(
            Kind::WrongState,
            format!("node \"{name}\" hosts {active} peers, more than {max_peers}"),
            "Move peers away first.",
        ));
    }
    UPSERT
        .query_opt(
            &[
                name.into(),
                endpoint.into(),
                weight.into(),
                max_peers.into(),
                cidr.into(),
                capabilities.into(),
            ],
            |row| row.need(1),
        )?
        .ok_or_else(|| Error::corrupt_schema("node_id of the node just made"))
}

fn in_range(argument: &str, value: i32, low: i32, high: i32) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::bad_argument(
        format!("{argument} {value} is out of range"),
        format!("Give a number from {low} to {high}."),
    ))
}

/// Every node with its score, lowest first, and why it takes no peer if it takes none.
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
    let nodes = scored(None)?;
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

fn scored(capability: Option<&str>) -> Result<Vec<Scored>> {
    static SCORES: Statement = Statement::new(
        "SELECT node_id, name, weight, score, enabled, active_peers, max_peers,
                extract(epoch FROM clock_timestamp() - seen_at)::double precision,
                $1 IS NULL OR $1 = ANY (capabilities)
           FROM nebula.node ORDER BY score, name",
    );
    SCORES.query(&[capability.into()], |row: &Row<'_>| {
        Ok(Scored {
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

/// The node for the next peer. NULL: there are no nodes at all, stay local.
///
/// `strategy`: 'auto' the lowest score, 'random' any that fits, 'name:NAME' that one.
/// Errors: 22023 unknown strategy, P0002 no such node, 53000 nodes exist but none fits.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn select_node(
    strategy: default!(Option<&str>, "'auto'"),
    capability: default!(Option<&str>, "NULL"),
) -> sql::Result<Option<Uuid>> {
    Ok(select(required(strategy, "strategy")?, capability)?)
}

fn select(strategy: &str, capability: Option<&str>) -> Result<Option<Uuid>> {
    // Reads the index on (score, name) of nodes with room and stops at the first that reports.
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
    let parsed = strategy.parse().map_err(|()| {
        Error::bad_argument(
            format!("there is no strategy \"{strategy}\""),
            "Known are 'auto' (lowest score), 'random' and 'name:NAME'.",
        )
    })?;
    let plan = match parsed {
        Strategy::Auto => &LOWEST,
        Strategy::Random => &ANY,
        Strategy::Named(name) => return named(&name, capability).map(Some),
    };
    if let Some(node) =
        plan.query_opt(&[REPORT_TIMEOUT_SECONDS.into(), capability.into()], |row| row.need(1))?
    {
        return Ok(Some(node));
    }
    let nodes = scored(capability)?;
    if nodes.is_empty() {
        return Ok(None);
    }
    Err(none_fits(&nodes))
}

fn named(name: &str, capability: Option<&str>) -> Result<Uuid> {
    let nodes = scored(capability)?;
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

fn none_fits(nodes: &[Scored]) -> Error {
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
