//! Devices that stand in the configuration of others, which names their address: lighthouses, relays, and those that
//! networks lie behind.

use pgrx::Uuid;

use crate::error::Result;
use crate::plan::Plan;
use crate::table;

/// Whether a device is one. Both indexes are small, and mostly empty.
pub(super) fn is_named(device: Uuid) -> Result<bool> {
    Ok(table::holds(c"device", c"device_landmark_key", device)?
        || table::holds(c"route", c"route_device_idx", device)?)
}

/// A device got an address, or gave one back: the others must hear of it if they know the device.
pub(super) fn moved(project: Uuid, device: Uuid) -> Result<()> {
    static BUMP: Plan = Plan::new("SELECT nebula.bump_configuration($1)");
    if is_named(device)? { BUMP.run(&[project.into()]) } else { Ok(()) }
}

/// The same for many devices that got one.
pub(crate) fn all_moved(project: Uuid, devices: Vec<Uuid>) -> Result<()> {
    static BUMP: Plan = Plan::new(
        "SELECT nebula.bump_configuration($1)
          WHERE EXISTS (SELECT FROM nebula.device d WHERE d.project_id = $1 AND d.role IN ('lighthouse', 'relay')
                           AND d.revoked_at IS NULL AND d.device_id = ANY ($2))
             OR EXISTS (SELECT FROM nebula.route r WHERE r.project_id = $1 AND r.device_id = ANY ($2))",
    );
    if devices.is_empty() { Ok(()) } else { BUMP.run(&[project.into(), devices.into()]) }
}
