//! The rule that a device holds addresses in one project only.
//!
//! Unique indexes guarantee it within an address family. For a device that two transactions allocate
//! addresses of different families to, each looks after its insert: at least one of them then sees the row of
//! the other.

use pgrx::Uuid;

use super::held;
use super::store;
use crate::pg::error::Result;
use crate::pg::session;
use crate::pools::families;

/// Called after these devices were allocated addresses in the project. Waits for a transaction that is about
/// to allocate them an address elsewhere; two that wait for each other are a deadlock, of which the server
/// ends one.
///
/// # Errors
/// [`Kind::Exists`](crate::pg::error::Kind::Exists) when a device holds an address in another project.
pub(super) fn require(project: Uuid, devices: impl IntoIterator<Item = Uuid>) -> Result<()> {
    if !families::both_exist()? {
        return Ok(());
    }
    for device in devices {
        while let Some(other) = store::of_device(device)?.into_iter().find(|row| row.project != project) {
            match other.undecided {
                None => return Err(held::elsewhere(device, other.project, other.address)),
                Some(transaction) => session::wait_for(transaction),
            }
        }
    }
    Ok(())
}
