//! The operations below SQL: rows are written through the table access method.

use std::ffi::CStr;
use std::net::IpAddr;

use nebula_core::address::number;
use pgrx::pg_sys::Datum;
use pgrx::{Inet, IntoDatum, Uuid};

use super::{AddressStore, EndedAllocation, Pair, StaticHostReason, sql};
use crate::addresses::request::Request;
use crate::direct::{CacheToken, FoundRow, InsertOutcome, Table};
use crate::free_map;
use crate::free_map::trigger::address_released;
use crate::pg::catalog::relation;
use crate::pg::datum::inet::Host;
use crate::pg::datum::timestamp::{self, Timestamp};
use crate::pg::error::Result;
use crate::pg::privilege::as_owner;
use crate::pg::session::{client_address, session_user, transaction_start};
use crate::pools::pool::Pool;

static ALLOCATION: Table = Table::new(
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

/// Numbers of columns in the list of [`ALLOCATION`].
mod column {
    pub(super) const PROJECT: usize = 0;
    pub(super) const POOL: usize = 1;
    pub(super) const IP: usize = 2;
    pub(super) const ALLOCATED_AT: usize = 4;
    pub(super) const ALLOCATED_BY: usize = 6;
    pub(super) const CLIENT: usize = 7;
    pub(super) const RELEASED_AT: usize = 8;
}

/// Unique index on device and address family; also has the rows in quarantine.
const BY_DEVICE: &CStr = c"allocation_device_key";

static LOG: Table = Table::new(
    c"allocation_log",
    &[
        c"project_id",
        c"pool_id",
        c"ip",
        c"device_id",
        c"allocated_at",
        c"allocated_by",
        c"released_at",
        c"released_by",
        c"allocated_from",
        c"released_from",
    ],
);

static CERTIFICATE: Table = Table::new(c"certificate", &[]);
/// Only for its cache token.
static DEVICE: Table = Table::new(c"device", &[]);
/// Only for its cache token.
static ROUTE: Table = Table::new(c"route", &[]);
/// Only for its cache token.
static FIREWALL_RULE: Table = Table::new(c"firewall_rule", &[]);

/// Buffers that adding the index entries of one row reads at most, unless an index has entries of many dead
/// rows with its address.
const MAX_ENTRY_BUFFERS: i64 = 256;

/// The implementation below SQL.
pub(super) struct Direct;

impl AddressStore for Direct {
    fn has_rows(device: Uuid) -> Result<Option<bool>> {
        ALLOCATION.open_for_writing()?.contains(BY_DEVICE, device)
    }

    /// Needs SQL at a row of the same device, because SQL waits for the transaction that inserted it.
    fn insert(request: &Request<'_>, pool: &Pool, address: IpAddr) -> Result<Option<bool>> {
        let row = SharedValues::of(request)?.row(pool, request.device, address);
        let table = ALLOCATION.open_for_writing()?;
        let before = table.entry_buffers();
        match table.try_insert(&row) {
            InsertOutcome::Inserted => {
                if table.entry_buffers() - before > MAX_ENTRY_BUFFERS {
                    free_map::skip_bloated(pool, address);
                }
                Ok(Some(true))
            }
            InsertOutcome::Conflict(index) if index == relation(c"allocation_pkey")? => Ok(Some(false)),
            InsertOutcome::Conflict(_) | InsertOutcome::UseSql => Ok(None),
        }
    }

    fn insert_many(request: &Request<'_>, pool: &Pool, pairs: &[Pair]) -> Result<Option<bool>> {
        let shared = SharedValues::of(request)?;
        let outcome = ALLOCATION.try_insert_all(pairs.len(), |row, values| {
            let (device, address) = pairs[row];
            values.copy_from_slice(&shared.row(pool, device, address));
        })?;
        Ok(match outcome {
            InsertOutcome::Inserted => Some(true),
            InsertOutcome::Conflict(_) => Some(false),
            InsertOutcome::UseSql => None,
        })
    }

    /// Only for a device without a certificate that holds one address.
    fn end_allocations(device: Uuid, address: Option<&Inet>) -> Result<Option<Vec<EndedAllocation>>> {
        if address.is_some() {
            return Ok(None);
        }
        let certificates = CERTIFICATE.open_for_reading()?;
        let has_certificate = || certificates.contains(c"certificate_device_idx", device);
        if has_certificate()? != Some(false) {
            return Ok(None);
        }
        let Some(ended) = ALLOCATION.delete(BY_DEVICE, device, |row| EndedAllocation::found(row, device))?
        else {
            return Ok(None);
        };
        // A registration that had the row locked until just now may have recorded a certificate.
        let in_quarantine =
            has_certificate()? != Some(false) && as_owner(|| sql::quarantine_if_certified(&ended))?;
        if !in_quarantine {
            address_released(ended.pool, number(ended.address))?;
        }
        Ok(Some(vec![ended]))
    }

    fn append_log(ended: &EndedAllocation, by: Option<&str>, client: Option<&Inet>) -> Result<Option<()>> {
        let written = LOG.insert(&[
            ended.project.into_datum(),
            ended.pool.into_datum(),
            Host(ended.address).into_datum(),
            ended.device.into_datum(),
            ended.allocated_at.into_datum(),
            ended.allocated_by.as_deref().and_then(IntoDatum::into_datum),
            Timestamp(transaction_start()).into_datum(),
            by.map_or_else(|| session_user().into_datum(), IntoDatum::into_datum),
            ended.allocated_from.clone().and_then(IntoDatum::into_datum),
            client.cloned().map_or_else(client_address, IntoDatum::into_datum),
        ])?;
        Ok(written.then_some(()))
    }
}

/// Expires when the static hosts of this kind may have changed.
pub(super) fn static_hosts_token(reason: StaticHostReason) -> Result<CacheToken> {
    table_of(reason).cache_token()
}

/// Expires when firewall rules may have changed.
pub(super) fn firewall_rules_token() -> Result<CacheToken> {
    FIREWALL_RULE.cache_token()
}

fn table_of(reason: StaticHostReason) -> &'static Table {
    match reason {
        StaticHostReason::Role => &DEVICE,
        StaticHostReason::Route => &ROUTE,
    }
}

/// Values that all new rows of a request have in common.
struct SharedValues {
    project: Option<Datum>,
    allocated_at: Option<Datum>,
    lease_until: Option<Datum>,
    allocated_by: Option<Datum>,
    client: Option<Datum>,
}

impl SharedValues {
    fn of(request: &Request<'_>) -> Result<Self> {
        let now = Timestamp(transaction_start());
        let lease_until = request.lease.map(|lease| timestamp::later(now, lease)).transpose()?;
        Ok(Self {
            project: request.project.into_datum(),
            allocated_at: now.into_datum(),
            lease_until: lease_until.and_then(IntoDatum::into_datum),
            allocated_by: request
                .allocated_by
                .map_or_else(|| session_user().into_datum(), IntoDatum::into_datum),
            client: request.client.clone().map_or_else(client_address, IntoDatum::into_datum),
        })
    }

    fn row(&self, pool: &Pool, device: Uuid, address: IpAddr) -> [Option<Datum>; 9] {
        [
            self.project,
            pool.id.into_datum(),
            Host(address).into_datum(),
            device.into_datum(),
            self.allocated_at,
            self.lease_until,
            self.allocated_by,
            self.client,
            None,
        ]
    }
}

impl EndedAllocation {
    /// `None` for a row in quarantine.
    fn found(row: &FoundRow<'_>, device: Uuid) -> Option<Self> {
        if row.get(column::RELEASED_AT).is_some() {
            return None;
        }
        Some(Self {
            project: row.read(column::PROJECT)?,
            pool: row.read(column::POOL)?,
            address: row.read::<Host>(column::IP)?.0,
            device,
            allocated_at: row.read(column::ALLOCATED_AT)?,
            allocated_by: row.read(column::ALLOCATED_BY),
            allocated_from: row.read(column::CLIENT),
        })
    }
}
