//! Making pools, and the arithmetic of ranges for SQL.

use nebula_core::address::number;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::project;
use crate::pg::datum::inet::{checked_cidr, network};
use crate::pg::error::{Error, Kind, Result, required, sql};
use crate::pg::statement::Statement;

/// Makes a pool of a range and answers how many addresses it can give out.
///
/// It costs one row, whatever its size. `reserve_gateway` keeps back the first address.
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
    let count = populate(
        required(project_id, "project_id")?,
        &required(cidr, "cidr")?,
        required(name, "name")?,
        reserve_gateway.unwrap_or(false),
    )?;
    Ok(AnyNumeric::from(count))
}

fn populate(project: Uuid, cidr: &Inet, name: &str, reserve_gateway: bool) -> Result<u128> {
    // The trigger on the table refuses overlaps, for rows made by hand too.
    static INSERT: Statement = Statement::new(
        "INSERT INTO nebula.pool (project_id, name, cidr, gateway) VALUES ($1, $2, $3::cidr, $4)
         ON CONFLICT (project_id, name) DO NOTHING RETURNING pool_id",
    );
    project::check_exists(project)?;
    project::check_name("pool", name)?;
    let network = checked_cidr(cidr)?;
    let count = network.assignable_count();
    let gateway = reserve_gateway.then(|| network.family().address(*network.assignable().start()));
    if gateway.is_some() && count == 1 {
        return Err(Error::bad_argument(
            format!("{network} has one address, and it would be the gateway's"),
            "Use a larger range, or do not reserve a gateway.",
        ));
    }
    let gateway_text = gateway.map(|address| Inet(address.to_string()));
    if !INSERT.exists(&[
        project.into(),
        name.into(),
        Inet(network.to_string()).into(),
        gateway_text.into(),
    ])? {
        return Err(Error::new(
            Kind::Exists,
            format!("project {project} has a pool \"{name}\" already"),
            "Give the new pool another name.",
        ));
    }
    Ok(count - u128::from(gateway.is_some()))
}

/// How many addresses there are from `first` to `last`, both counted; 0 when `first` is the higher one.
#[pg_extern(immutable, strict, parallel_safe)]
fn span(first: Inet, last: Inet) -> sql::Result<AnyNumeric> {
    let (first, last) = (number(network(&first)?.address), number(network(&last)?.address));
    // One more than u128 holds for the whole of IPv6.
    Ok(last
        .checked_sub(first)
        .map_or(AnyNumeric::from(0), |more| AnyNumeric::from(more) + AnyNumeric::from(1)))
}

/// First and last address of a range that may be given out, and how many they are.
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
