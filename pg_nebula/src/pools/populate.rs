//! Creating pools, and arithmetic on address ranges for SQL.

use nebula_core::address::number;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::project;
use crate::pg::datum::inet::{checked_cidr, network};
use crate::pg::error::{Error, Kind, required, sql};
use crate::pg::statement::Statement;

/// Creates a pool of a range and returns how many addresses it can assign.
///
/// It costs one row, whatever its size. `reserve_gateway` reserves the first address.
/// Errors: P0002 no such project, 22023 malformed name, host bits set or outside the overlay,
/// 23505 name taken or range overlapping another pool of the project.
#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn populate_pool(
    project_id: Option<Uuid>,
    cidr: Option<Inet>,
    name: default!(Option<&str>, "'default'"),
    reserve_gateway: default!(Option<bool>, "false"),
) -> sql::Result<AnyNumeric> {
    // A trigger of the table refuses overlaps, also of rows that are inserted by hand.
    static INSERT: Statement = Statement::new(
        "INSERT INTO nebula.pool (project_id, name, cidr, gateway) VALUES ($1, $2, $3::cidr, $4)
         ON CONFLICT (project_id, name) DO NOTHING RETURNING pool_id",
    );
    let (project, cidr) = (required(project_id, "project_id")?, required(cidr, "cidr")?);
    let name = required(name, "name")?;
    project::check_exists(project)?;
    project::check_name("pool", name)?;
    let network = checked_cidr(&cidr)?;
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

/// How many addresses there are from `first` to `last`, both counted; 0 when `first` is the higher one.
#[pg_extern(immutable, strict, parallel_safe)]
fn span(first: Inet, last: Inet) -> sql::Result<AnyNumeric> {
    let (first, last) = (number(network(&first)?.address), number(network(&last)?.address));
    // All of IPv6 has one address more than u128 can count, hence the sum in numeric.
    Ok(last
        .checked_sub(first)
        .map_or(AnyNumeric::from(0), |more| AnyNumeric::from(more) + AnyNumeric::from(1)))
}

/// First and last assignable address of a range, and how many there are.
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
