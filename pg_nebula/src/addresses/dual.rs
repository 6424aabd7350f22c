//! One address of each family for a device.

use nebula_core::address::Family;
use pgrx::prelude::*;
use pgrx::{Inet, Uuid};

use super::allocate::general_path;
use super::request::Request;
use crate::pg::catalog::join_allocators;
use crate::pg::datum::inet::Host;
use crate::pg::error::{required, sql};
use crate::pools::cache::pools_of;

#[pg_extern(security_definer)]
#[search_path(nebula, pg_temp)]
fn allocate_dual(
    project_id: Option<Uuid>,
    device_id: Option<Uuid>,
    allocated_by: default!(Option<&str>, "NULL"),
    lease: default!(Option<Interval>, "NULL"),
    label: default!(Option<&str>, "NULL"),
    client: default!(Option<Inet>, "NULL"),
) -> sql::Result<TableIterator<'static, (name!(family, i32), name!(ip, Host))>> {
    let mut request = Request {
        allocated_by,
        lease,
        label,
        client,
        ..Request::new(required(project_id, "project_id")?, required(device_id, "device_id")?)
    };
    request.check()?;
    join_allocators()?;
    let pools = pools_of(request.project, None)?;
    let mut allocated = Vec::new();
    for (number, family) in [(4, Family::V4), (6, Family::V6)] {
        if pools.iter().any(|pool| pool.enabled && pool.network.family() == family) {
            request.family = Some(family);
            allocated.push((number, Host(general_path(&request)?)));
        }
    }
    if allocated.is_empty() {
        return Err(request.pools_disabled(&pools).into());
    }
    Ok(TableIterator::new(allocated))
}
