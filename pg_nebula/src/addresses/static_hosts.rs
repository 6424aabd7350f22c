//! Static hosts, as nebula calls them: devices whose address stands in the configuration of other devices,
//! because they are lighthouses or relays, or because networks lie behind them.
//!
//! There are few of them, so each session caches all.

use std::cell::RefCell;
use std::collections::HashSet;

use pgrx::Uuid;

use super::store::{self, StaticHostReason};
use crate::direct::CacheToken;
use crate::pg::error::Result;
use crate::pg::privilege::as_owner;
use crate::pg::statement::Statement;

thread_local! {
    static BY_ROLE: Cache = Cache::new(StaticHostReason::Role);
    static BY_ROUTE: Cache = Cache::new(StaticHostReason::Route);
}

/// The static hosts of all projects for one reason.
struct Cache {
    reason: StaticHostReason,
    content: RefCell<(HashSet<Uuid>, CacheToken)>,
}

impl Cache {
    fn new(reason: StaticHostReason) -> Self {
        Self { reason, content: RefCell::new((HashSet::new(), CacheToken::none())) }
    }

    fn contains(&self, device: Uuid) -> Result<bool> {
        if !self.content.borrow().1.is_current() {
            // Read before the cell is borrowed: a statement may call back into this module.
            let content = store::static_hosts(self.reason)?;
            self.content.replace(content);
        }
        Ok(self.content.borrow().0.contains(&device))
    }
}

/// Whether a device is a static host, according to the changes that this session has received.
pub(super) fn is_static_host(device: Uuid) -> Result<bool> {
    Ok(BY_ROLE.with(|cache| cache.contains(device))? || BY_ROUTE.with(|cache| cache.contains(device))?)
}

/// Increments the project's configuration version if any of `devices`, whose addresses have changed, is a
/// static host, so that all agents fetch their configuration.
pub(super) fn notify_peers(project: Uuid, devices: impl IntoIterator<Item = Uuid>) -> Result<()> {
    static BUMP: Statement = Statement::new("SELECT nebula.bump_configuration($1)");
    for device in devices {
        if is_static_host(device)? {
            return as_owner(|| BUMP.run(&[project.into()]));
        }
    }
    Ok(())
}
