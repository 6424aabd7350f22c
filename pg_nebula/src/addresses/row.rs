//! The row of a new allocation, written below SQL.
#![expect(unsafe_code, reason = "functions of the server are called as SQL would call them")]

use std::cell::OnceCell;
use std::ffi::CStr;
use std::net::IpAddr;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::prelude::*;
use pgrx::{Uuid, direct_function_call_as_datum};

use super::request::Request;
use crate::direct::{InsertOutcome, OpenTable, Table};
use crate::pg::datum::inet::Host;
use crate::pg::error::Result;
use crate::pg::session::transaction_start;
use crate::pools::pool::Pool;

/// Columns by their number in the list.
pub(super) mod column {
    pub(in super::super) const PROJECT: usize = 0;
    pub(in super::super) const POOL: usize = 1;
    pub(in super::super) const IP: usize = 2;
    pub(in super::super) const ALLOCATED_AT: usize = 4;
    pub(in super::super) const ALLOCATED_BY: usize = 6;
    pub(in super::super) const CLIENT: usize = 7;
    pub(in super::super) const RELEASED_AT: usize = 8;
}

pub(super) static ALLOCATION: Table = Table::new(
    c"allocation",
    &[
        c"project_id",
        c"pool_id",
        c"ip",
        c"device_id",
        c"allocated_at",
        c"lease_until",
        c"allocated_by",
        c"client",
        c"released_at",
    ],
)
.with_delete_trigger(c"allocation_deleted");

/// Of what devices hold, and may have back from quarantine.
pub(super) const BY_DEVICE: &CStr = c"allocation_device_key";

/// Columns that all rows of a request have in common.
struct Common {
    project: Option<pg_sys::Datum>,
    now: i64,
    lease_until: Option<pg_sys::Datum>,
    allocated_by: Option<pg_sys::Datum>,
    client: Option<pg_sys::Datum>,
}

impl Common {
    fn of(request: &Request<'_>) -> Self {
        let now = transaction_start();
        // SAFETY: a timestamp and an interval, as the function takes them.
        let until = |lease: Interval| unsafe {
            direct_function_call_as_datum(
                pg_sys::timestamptz_pl_interval,
                &[Some(now.into()), lease.into_datum()],
            )
        };
        Self {
            project: request.project.into_datum(),
            now,
            lease_until: request.lease.and_then(until),
            allocated_by: request.allocated_by.map_or_else(session_user, IntoDatum::into_datum),
            client: request.client.clone().map_or_else(session_client, IntoDatum::into_datum),
        }
    }

    fn values(&self, pool: &Pool, device: Uuid, address: IpAddr) -> [Option<pg_sys::Datum>; 9] {
        [
            self.project,
            pool.id.into_datum(),
            Host(address).into_datum(),
            device.into_datum(),
            Some(self.now.into()),
            self.lease_until,
            self.allocated_by,
            self.client,
            None,
        ]
    }
}

/// Writes the row of one device.
pub(super) fn write(table: &OpenTable, request: &Request<'_>, pool: &Pool, address: IpAddr) -> InsertOutcome {
    table.try_insert(&Common::of(request).values(pool, request.device, address))
}

/// Writes the rows of several devices, or none.
pub(crate) fn write_all(
    request: &Request<'_>,
    pool: &Pool,
    pairs: &[(Uuid, IpAddr)],
) -> Result<InsertOutcome> {
    let common = Common::of(request);
    ALLOCATION.try_insert_all(pairs.len(), |row, values| {
        let (device, address) = pairs[row];
        values.copy_from_slice(&common.values(pool, device, address));
    })
}

/// Who is logged in.
pub(super) fn session_user() -> Option<pg_sys::Datum> {
    // SAFETY: a role that is logged in has a name; the string lives as long as the call.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), false);
        CStr::from_ptr(name).to_str().ok().and_then(IntoDatum::into_datum)
    }
}

/// Where the session comes from; `None` over a local socket. It does not change.
pub(super) fn session_client() -> Option<pg_sys::Datum> {
    thread_local! {
        static CLIENT: OnceCell<Option<pg_sys::Datum>> = const { OnceCell::new() };
    }
    // SAFETY: a function without arguments; what it answers lives as long as the session.
    let ask = || unsafe {
        PgMemoryContexts::TopMemoryContext
            .switch_to(|_| direct_function_call_as_datum(pg_sys::inet_client_addr, &[]))
    };
    CLIENT.with(|client| *client.get_or_init(ask))
}
