//! Static hosts, as nebula calls them: devices whose address stands in the configuration of other devices,
//! because they are lighthouses or relays, or because networks lie behind them.
//!
//! There are few of them, so each session caches all. Each session also caches the projects whose firewall rules
//! name devices or groups: nodes enforce those rules by addresses.

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
    static BY_RULE: RefCell<(HashSet<Uuid>, CacheToken)> = RefCell::new((HashSet::new(), CacheToken::none()));
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

/// Whether firewall rules of the project name devices or groups.
pub(super) fn are_named_by_rules(project: Uuid) -> Result<bool> {
    BY_RULE.with(|cache| {
        if !cache.borrow().1.is_current() {
            // Read before the cell is borrowed, as above.
            let content = store::projects_with_named_devices()?;
            cache.replace(content);
        }
        Ok(cache.borrow().0.contains(&project))
    })
}

/// Increments the project's configuration version if any of `devices`, whose addresses have changed, is a
/// static host, so that all agents fetch their configuration. Tells nodes if firewall rules name the devices.
pub(super) fn notify_peers(project: Uuid, devices: impl IntoIterator<Item = Uuid>) -> Result<()> {
    static BUMP: Statement = Statement::new("SELECT nebula.bump_configuration($1)");
    static NOTIFY: Statement = Statement::new("SELECT nebula.notify_firewalls($1, $2)");
    let devices: Vec<Uuid> = devices.into_iter().collect();
    if !devices.is_empty() && are_named_by_rules(project)? {
        as_owner(|| NOTIFY.run(&[project.into(), devices.clone().into()]))?;
    }
    for device in devices {
        if is_static_host(device)? {
            return as_owner(|| BUMP.run(&[project.into()]));
        }
    }
    Ok(())
}
