//! The model: committed rows, the uncommitted changes of each transaction, and the answers that both allow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Result, bail, ensure};
use uuid::Uuid;

/// A change that a transaction made to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A device got a free address.
    Take(IpAddr, Uuid),
    /// A device got back the address that was in quarantine for it.
    Revive(IpAddr, Uuid),
    /// A device asked again and keeps its address; a concurrent release must wait.
    Keep(IpAddr, Uuid),
    /// A device released the address.
    Free(IpAddr, Uuid),
    /// A device released the address, but a valid certificate still names it.
    Quarantine(IpAddr, Uuid),
}

impl Effect {
    fn parts(self) -> (IpAddr, Uuid) {
        match self {
            Self::Take(ip, device)
            | Self::Revive(ip, device)
            | Self::Keep(ip, device)
            | Self::Free(ip, device)
            | Self::Quarantine(ip, device) => (ip, device),
        }
    }

    fn takes(self) -> Option<IpAddr> {
        matches!(self, Self::Take(..)).then_some(self.parts().0)
    }

    fn keeps(self) -> bool {
        matches!(self, Self::Keep(..))
    }
}

/// Rows of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) held: BTreeMap<IpAddr, Uuid>,
    pub(super) quarantined: BTreeMap<IpAddr, Uuid>,
}

impl Rows {
    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Take(ip, device) | Effect::Revive(ip, device) => {
                self.quarantined.remove(&ip);
                self.held.insert(ip, device);
            }
            Effect::Free(ip, _) => drop(self.held.remove(&ip)),
            Effect::Quarantine(ip, device) => {
                self.held.remove(&ip);
                self.quarantined.insert(ip, device);
            }
            Effect::Keep(..) => {}
        }
    }

    fn of(&self, device: Uuid) -> Option<IpAddr> {
        self.held.iter().find(|(_, holder)| **holder == device).map(|(ip, _)| *ip)
    }
}

/// An open transaction, of a session or prepared.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenTransaction {
    /// The snapshot is as old as the first statement, so 40001 is always a correct answer.
    pub(super) stale: bool,
    effects: Vec<Effect>,
    savepoints: Vec<usize>,
}

impl OpenTransaction {
    /// A transaction that has done nothing yet.
    pub(super) fn begun(stale: bool) -> Self {
        Self { stale, ..Self::default() }
    }

    /// Sets a savepoint; answers its number.
    pub(super) fn savepoint(&mut self) -> usize {
        self.savepoints.push(self.effects.len());
        self.savepoints.len()
    }

    /// Forgets the changes since the newest savepoint, which stays; `false` when there is none.
    pub(super) fn rewind(&mut self) -> bool {
        let Some(mark) = self.savepoints.last() else { return false };
        self.effects.truncate(*mark);
        true
    }

    /// Releases the newest savepoint and keeps the changes since; answers its number.
    pub(super) fn release(&mut self) -> Option<usize> {
        let number = self.savepoints.len();
        self.savepoints.pop().map(|_| number)
    }

    /// Number of the newest savepoint.
    pub(super) fn newest(&self) -> Option<usize> {
        (!self.savepoints.is_empty()).then_some(self.savepoints.len())
    }
}

/// The whole state of the model.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Whether sessions share a map of uncommitted changes: then they skip addresses in flight instead of
    /// waiting for them.
    pub(super) shared_map: bool,
    /// All addresses that the project can assign.
    pub(super) universe: BTreeSet<IpAddr>,
    /// Committed rows.
    pub(super) rows: Rows,
    /// Devices with a valid certificate.
    pub(super) certified: BTreeSet<Uuid>,
    /// Open transactions by name.
    pub(super) open: BTreeMap<String, OpenTransaction>,
}

impl Model {
    /// Ends a transaction; a name without an open transaction is no error.
    pub(super) fn end(&mut self, who: &str, commit: bool) {
        let work = self.open.remove(who).unwrap_or_default();
        for effect in work.effects.into_iter().filter(|_| commit) {
            self.rows.apply(effect);
        }
    }

    /// Whether an open transaction has changed this address or device.
    pub(super) fn in_flight(&self, ip: Option<IpAddr>, device: Uuid) -> bool {
        let touched = |effect: &Effect| Some(effect.parts().0) == ip || effect.parts().1 == device;
        self.open.values().flat_map(|work| &work.effects).any(touched)
    }

    fn own(&self, who: &str) -> OpenTransaction {
        self.open.get(who).cloned().unwrap_or_default()
    }

    fn others<'a>(&'a self, who: &'a str) -> impl Iterator<Item = Effect> + 'a {
        let open = self.open.iter().filter(move |(name, _)| name.as_str() != who);
        open.flat_map(|(_, work)| work.effects.iter().copied())
    }

    /// The rows that the transaction `who` sees.
    pub(super) fn view(&self, who: &str) -> Rows {
        let mut view = self.rows.clone();
        self.own(who).effects.into_iter().for_each(|effect| view.apply(effect));
        view
    }

    /// Addresses without a holder, without a change in an open transaction, and without a quarantine.
    pub(super) fn free(&self) -> BTreeSet<IpAddr> {
        let taken: BTreeSet<_> =
            self.open.values().flat_map(|work| &work.effects).filter_map(|e| e.takes()).collect();
        let gone = |ip: &IpAddr| {
            self.rows.held.contains_key(ip) || self.rows.quarantined.contains_key(ip) || taken.contains(ip)
        };
        self.universe.iter().copied().filter(|ip| !gone(ip)).collect()
    }

    /// Checks the answer of `allocate_ip` against the model, and records it.
    pub(super) fn allocated(
        &mut self,
        who: &str,
        device: Uuid,
        wanted: Option<IpAddr>,
        answer: Result<IpAddr, &str>,
    ) -> Result<()> {
        let own = self.own(who);
        let view = self.view(who);
        let held = view.of(device);
        let former: BTreeSet<IpAddr> =
            view.quarantined.iter().filter(|(_, d)| **d == device).map(|(ip, _)| *ip).collect();
        let free = self.free();
        // An address that this transaction released is free for it at once or only after its commit; both are
        // correct.
        let given: BTreeSet<IpAddr> = own
            .effects
            .iter()
            .map(|effect| effect.parts().0)
            .filter(|ip| !view.held.contains_key(ip) && !view.quarantined.contains_key(ip))
            .collect();
        let taken_elsewhere = self.others(who).any(|effect| effect.takes().is_some());
        let device_elsewhere = self.others(who).any(|effect| effect.parts().1 == device && !effect.keeps());
        let wanted_elsewhere =
            self.others(who).any(|effect| wanted == Some(effect.parts().0) && !effect.keeps());
        let somebody_elsewhere = self.others(who).next().is_some();
        // Rolling back an allocation frees the address, unless the transaction had released it before.
        let may_come_free = self
            .others(who)
            .filter_map(|effect| effect.takes())
            .any(|ip| !self.rows.held.contains_key(&ip) && !self.rows.quarantined.contains_key(&ip));
        match answer {
            Ok(ip) => {
                ensure!(self.universe.contains(&ip), "{ip} cannot be given out");
                ensure!(wanted.is_none_or(|wanted| wanted == ip), "another address than the one asked for");
                ensure!(!device_elsewhere, "it did not wait for the other transaction of this device");
                let effect = match held {
                    Some(held) => {
                        ensure!(held == ip, "the device holds {held} already");
                        Effect::Keep(ip, device)
                    }
                    None if former.contains(&ip) => Effect::Revive(ip, device),
                    None => {
                        ensure!(free.contains(&ip) || given.contains(&ip), "{ip} is not free");
                        if wanted.is_none() && !own.stale {
                            ensure!(former.is_empty(), "its own {former:?} waits for it in quarantine");
                            let lowest = free.first().is_none_or(|lowest| ip <= *lowest);
                            let alone = !taken_elsewhere && (self.shared_map || !somebody_elsewhere);
                            ensure!(!alone || lowest, "the lowest free one is {:?}", free.first());
                        }
                        Effect::Take(ip, device)
                    }
                };
                self.remember(who, effect);
                Ok(())
            }
            Err("53400") => {
                ensure!(free.is_empty() && given.is_empty(), "not exhausted: {free:?} {given:?} are free");
                ensure!(!may_come_free, "not exhausted: a transaction in flight may roll back");
                ensure!(held.is_none() && wanted.is_none(), "that was not the question");
                Ok(())
            }
            Err("55P03") => {
                // A map private to the session does not show the uncommitted changes of others, so a search
                // may collide with them.
                let passes_by = !free.is_empty() && self.shared_map;
                let for_any = wanted.is_none() && somebody_elsewhere && !passes_by;
                ensure!(
                    device_elsewhere || wanted_elsewhere || for_any,
                    "it waited for nobody, {free:?} are free"
                );
                Ok(())
            }
            Err("40001") if own.stale => Ok(()),
            Err("23505" | "55000") if own.stale && wanted.is_some() => Ok(()),
            Err("23505") => {
                let taken = wanted.is_some_and(|ip| {
                    let holder = view.held.get(&ip).or(view.quarantined.get(&ip));
                    holder.is_some_and(|holder| *holder != device)
                });
                ensure!(taken, "the address is not taken");
                Ok(())
            }
            Err("55000") => {
                ensure!(held.is_some() && wanted.is_some() && held != wanted, "the device holds {held:?}");
                Ok(())
            }
            Err("22023") => {
                ensure!(
                    wanted.is_some_and(|ip| !self.universe.contains(&ip)),
                    "the address can be given out"
                );
                Ok(())
            }
            Err(other) => bail!("SQLSTATE {other} is never right here"),
        }
    }

    /// Checks the answer of `release_ip` against the model, and records it.
    pub(super) fn released(&mut self, who: &str, device: Uuid, answer: Result<IpAddr, &str>) -> Result<()> {
        let own = self.own(who);
        let held = self.view(who).of(device);
        let elsewhere = self.others(who).any(|effect| effect.parts().1 == device);
        match answer {
            Ok(ip) => {
                ensure!(held == Some(ip), "the device holds {held:?}");
                ensure!(!elsewhere, "it did not wait for the other transaction of this device");
                let quarantined = self.certified.contains(&device);
                let effect = if quarantined { Effect::Quarantine } else { Effect::Free };
                self.remember(who, effect(ip, device));
                Ok(())
            }
            Err("40001") if own.stale => Ok(()),
            Err("55P03") => {
                ensure!(elsewhere, "it waited for nobody");
                Ok(())
            }
            Err("P0002" | "55000") => {
                ensure!(held.is_none() || own.stale, "the device holds {held:?}");
                Ok(())
            }
            Err(other) => bail!("SQLSTATE {other} is never right here"),
        }
    }

    /// Outside a transaction, a change is committed at once.
    fn remember(&mut self, who: &str, effect: Effect) {
        match self.open.get_mut(who) {
            Some(work) => work.effects.push(effect),
            None => self.rows.apply(effect),
        }
    }
}
