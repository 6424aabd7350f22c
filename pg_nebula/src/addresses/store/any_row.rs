//! Rows in whatever state: committed, about to be inserted, or deleted by a transaction that has not ended.

use std::net::IpAddr;

use pgrx::prelude::*;
use pgrx::{Uuid, pg_sys};

use crate::direct::{KeyValue, UncommittedScan};
use crate::pg::datum::inet::Host;
use crate::pg::error::Result;
use crate::pools::pool::Pool;

/// An address that a device holds, or may hold.
pub(in crate::addresses) struct DeviceRow {
    pub(in crate::addresses) project: Uuid,
    pub(in crate::addresses) address: IpAddr,
    /// Transaction of another session, in progress, that has inserted or deleted the row.
    pub(in crate::addresses) undecided: Option<u32>,
}

/// Whether there is a row with the address.
pub(super) fn has_address(pool: &Pool, address: IpAddr) -> Result<bool> {
    let ip = KeyValue::inet(address)?;
    let scan = UncommittedScan {
        table: c"allocation",
        index: c"allocation_pkey",
        equal: (c"project_id", KeyValue::uuid(pool.project)?),
        between: Some((c"ip", ip, ip)),
        columns: &[],
    };
    let mut found = false;
    scan.each(|_| found = true)?;
    Ok(found)
}

/// The rows of a device but those in quarantine.
pub(in crate::addresses) fn of_device(device: Uuid) -> Result<Vec<DeviceRow>> {
    let scan = UncommittedScan {
        table: c"allocation",
        index: c"allocation_device_key",
        equal: (c"device_id", KeyValue::uuid(device)?),
        between: None,
        columns: &[
            (c"project_id", pg_sys::UUIDOID),
            (c"ip", pg_sys::INETOID),
            (c"released_at", pg_sys::TIMESTAMPTZOID),
        ],
    };
    let mut rows = Vec::new();
    scan.each(|row| {
        let (Some(project), Some(Host(address))) = (row.get(0), row.get(1)) else { return };
        if row.get::<TimestampWithTimeZone>(2).is_none() {
            rows.push(DeviceRow { project, address, undecided: row.inserted_by_other.or(row.deleted_by) });
        }
    })?;
    Ok(rows)
}
