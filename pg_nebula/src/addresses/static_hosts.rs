//! Devices that stand in the configuration of others, which names their address: lighthouses, relays, and those that
//! networks lie behind. They are few, so each session knows them.

use std::cell::RefCell;
use std::collections::HashSet;

use pgrx::Uuid;

use crate::direct::{CacheToken, IndexScan, Table};
use crate::pg::error::Result;
use crate::pg::statement::Statement;

static DEVICE: Table = Table::new(c"device", &[c"device_id"]);
static ROUTE: Table = Table::new(c"route", &[c"device_id"]);

/// What this session knows.
struct Named {
    landmarks: HashSet<Uuid>,
    routers: HashSet<Uuid>,
    landmarks_read: CacheToken,
    routers_read: CacheToken,
}

thread_local! {
    static KNOWN: RefCell<Named> = RefCell::new(Named {
        landmarks: HashSet::new(),
        routers: HashSet::new(),
        landmarks_read: CacheToken::none(),
        routers_read: CacheToken::none(),
    });
}

/// Whether a device is one, as far as this session has heard.
pub(super) fn is_static_host(device: Uuid) -> Result<bool> {
    KNOWN.with_borrow_mut(|known| {
        if !known.landmarks_read.is_current() {
            known.landmarks_read = read(&DEVICE, c"device_landmark_key", &mut known.landmarks)?;
        }
        if !known.routers_read.is_current() {
            known.routers_read = read(&ROUTE, c"route_device_idx", &mut known.routers)?;
        }
        Ok(known.landmarks.contains(&device) || known.routers.contains(&device))
    })
}

fn read(
    table: &'static Table,
    index: &'static std::ffi::CStr,
    devices: &mut HashSet<Uuid>,
) -> Result<CacheToken> {
    devices.clear();
    table.each(&IndexScan::exact(index, &[]), |row| devices.extend(row.read::<Uuid>(0)))
}

/// A device got an address, or gave one back: the others must hear of it if they know the device.
pub(super) fn moved(project: Uuid, device: Uuid) -> Result<()> {
    all_moved(project, [device])
}

/// The same for many devices that got one.
pub(crate) fn all_moved(project: Uuid, devices: impl IntoIterator<Item = Uuid>) -> Result<()> {
    static BUMP: Statement = Statement::new("SELECT nebula.bump_configuration($1)");
    for device in devices {
        if is_static_host(device)? {
            return BUMP.run(&[project.into()]);
        }
    }
    Ok(())
}
