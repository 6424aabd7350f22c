//! Creating pools, and arithmetic on address ranges for SQL.

use nebula_core::address::number;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::project;
use crate::pg::datum::inet::{checked_cidr, network};
use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::statement::Statement;

#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn populate_pool(
    project_id: Option<Uuid>,
    cidr: Option<Inet>,
    name: default!(Option<&str>, "'default'"),
    reserve_gateway: default!(Option<bool>, "false"),
) -> sql::Result<AnyNumeric> {
    static CHECK: Statement = Statement::new("SELECT nebula.check_pool_network($1, $2)");
    // A trigger of the table refuses overlaps, also of rows that are inserted by hand.
    static INSERT: Statement = Statement::new(
        "INSERT INTO nebula.pool (project_id, name, cidr, gateway) VALUES ($1, $2, $3::cidr, $4)
         ON CONFLICT (project_id, name) DO NOTHING RETURNING pool_id",
    );
    let (project, cidr) = (required(project_id, "project_id")?, required(cidr, "cidr")?);
    let name = required(name, "name")?;
    project::check_exists(project)?;
    check_name(name)?;
    let network = checked_cidr(&cidr)?;
    CHECK.run(&[project.into(), Inet(network.to_string()).into()])?;
    let count = network.assignable_count();
    let gateway = reserve_gateway
        .unwrap_or(false)
        .then(|| Inet(network.family().address(*network.assignable().start()).to_string()));
    if gateway.is_some() && count == 1 {
        return Err(Error::bad_argument(
            format!("{network} has one address, and it would be the gateway's"),
            "Use a larger range, or do not reserve a gateway.",
        )
        .into());
    }
    let usable = count - u128::from(gateway.is_some());
    if !INSERT.exists(&[project.into(), name.into(), Inet(network.to_string()).into(), gateway.into()])? {
        return Err(Error::new(
            Kind::Exists,
            format!("project {project} has a pool \"{name}\" already"),
            "Give the new pool another name.",
        )
        .into());
    }
    Ok(AnyNumeric::from(usable))
}

/// A CHECK constraint demands the same; this gives a better message.
fn check_name(name: &str) -> Result<()> {
    static GOOD: Statement = Statement::new("SELECT WHERE nebula.is_label($1)");
    if GOOD.exists(&[name.into()])? {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(Error::bad_argument(
        format!("\"{shown}\" is not a valid pool name"),
        "Start with a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes.",
    ))
}

#[pg_extern(immutable, strict, parallel_safe)]
fn span(first: Inet, last: Inet) -> sql::Result<AnyNumeric> {
    let (first, last) = (number(network(&first)?.address), number(network(&last)?.address));
    // All of IPv6 has one address more than u128 can count, hence the sum in numeric.
    Ok(last
        .checked_sub(first)
        .map_or(AnyNumeric::from(0), |more| AnyNumeric::from(more) + AnyNumeric::from(1)))
}

#[pg_extern(immutable, strict, parallel_safe)]
fn assignable_range(
    cidr: Inet,
) -> sql::Result<TableIterator<'static, (name!(first, Inet), name!(last, Inet), name!(count, AnyNumeric))>> {
    let network = network(&cidr)?;
    let range = network.assignable();
    let text = |n: &u128| Inet(network.family().address(*n).to_string());
    let count = AnyNumeric::from(network.assignable_count());
    Ok(TableIterator::once((text(range.start()), text(range.end()), count)))
}
