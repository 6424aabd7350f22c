//! Registration of nodes.

use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use crate::pg::datum::inet::checked_cidr;
use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::statement::Statement;

/// Registers a node, or updates the one of this name, and returns its identifier.
///
/// `endpoint` is host:port on the underlay, `cidr` the range its peers get addresses from.
/// Errors: 22023 malformed argument, 23505 range overlapping another node's, 55000 hosts more peers than
/// max_peers.
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
    // Registrations are rare. One at a time, so that two cannot insert overlapping ranges.
    static LOCK: Statement = Statement::new("LOCK TABLE nebula.node IN SHARE ROW EXCLUSIVE MODE");
    static UPSERT: Statement = Statement::new(
        "INSERT INTO nebula.node (name, endpoint, weight, max_peers, cidr, capabilities)
         VALUES ($1, $2, $3, $4, $5::cidr, $6)
         ON CONFLICT (name) DO UPDATE
            SET endpoint = EXCLUDED.endpoint, weight = EXCLUDED.weight, max_peers = EXCLUDED.max_peers,
                cidr = EXCLUDED.cidr, capabilities = EXCLUDED.capabilities
         RETURNING node_id",
    );
    let (name, endpoint) = (required(name, "name")?, required(endpoint, "endpoint")?);
    let (weight, max_peers) = (required(weight, "weight")?, required(max_peers, "max_peers")?);
    check_name_and_endpoint(name, endpoint)?;
    check_range("weight", weight, 1, 10_000)?;
    check_range("max_peers", max_peers, 1, 1_000_000)?;
    LOCK.run(&[])?;
    if let Some(cidr) = &cidr {
        check_no_overlap(name, cidr)?;
    }
    check_capacity(name, max_peers)?;
    let values = [
        name.into(),
        endpoint.into(),
        weight.into(),
        max_peers.into(),
        cidr.into(),
        capabilities.unwrap_or_default().into(),
    ];
    let node = UPSERT.query_opt(&values, |row| row.need(1))?;
    Ok(node.ok_or_else(|| Error::corrupt_schema("node_id of the node that was registered"))?)
}

/// The CHECK constraints of the table, evaluated beforehand for a better error message.
fn check_name_and_endpoint(name: &str, endpoint: &str) -> Result<()> {
    static IS_NAME: Statement = Statement::new("SELECT WHERE $1 ~ '^[[:alnum:]][[:alnum:]._-]{0,62}$'");
    static IS_ENDPOINT: Statement = Statement::new(
        r"SELECT WHERE $1 ~ '^(\[[0-9a-fA-F:.]+\]|[^][\s:]+):[0-9]{1,5}$'
             AND substring($1 FROM '[0-9]+$')::integer BETWEEN 1 AND 65535",
    );
    if !IS_NAME.exists(&[name.into()])? {
        return Err(Error::bad_argument(
            format!("\"{name}\" is no node name"),
            "Start with a letter or digit, then up to 62 letters, digits, dots, underscores or dashes.",
        ));
    }
    if !IS_ENDPOINT.exists(&[endpoint.into()])? {
        return Err(Error::bad_argument(
            format!("endpoint \"{endpoint}\" of node \"{name}\" is not host:port"),
            "For example node.example.org:51820 or [2001:db8::1]:51820.",
        ));
    }
    Ok(())
}

fn check_no_overlap(name: &str, cidr: &Inet) -> Result<()> {
    static OVERLAP: Statement =
        Statement::new("SELECT name FROM nebula.node WHERE cidr && $2 AND name <> $1 ORDER BY name LIMIT 1");
    let network = checked_cidr(cidr)?;
    match OVERLAP.query_opt(&[name.into(), cidr.clone().into()], |row| row.need::<String>(1))? {
        None => Ok(()),
        Some(other) => Err(Error::new(
            Kind::Exists,
            format!("{network} overlaps the range of node \"{other}\""),
            "Give each node a range of its own.",
        )),
    }
}

/// Refuses to lower `max_peers` below the number of peers that the node hosts.
fn check_capacity(name: &str, max_peers: i32) -> Result<()> {
    static PEERS: Statement =
        Statement::new("SELECT active_peers FROM nebula.node WHERE name = $1 AND active_peers > $2");
    match PEERS.query_opt(&[name.into(), max_peers.into()], |row| row.need::<i32>(1))? {
        None => Ok(()),
        Some(active) => Err(Error::new(
            Kind::WrongState,
            format!("node \"{name}\" hosts {active} peers, more than {max_peers}"),
            "Move peers away first.",
        )),
    }
}

fn check_range(argument: &str, value: i32, low: i32, high: i32) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::bad_argument(
        format!("{argument} {value} is out of range"),
        format!("Give a number from {low} to {high}."),
    ))
}
