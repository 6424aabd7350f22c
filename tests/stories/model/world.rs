//! The plain model: what is committed, what each transaction has in flight, and which answers that allows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Result, bail, ensure};
use uuid::Uuid;

/// What a transaction did to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A free address became a device's.
    Take(IpAddr, Uuid),
    /// A device got the address back that was in quarantine for it.
    Revive(IpAddr, Uuid),
    /// A device asked again and keeps what it has; a release must wait.
    Keep(IpAddr, Uuid),
    /// A device gave it back.
    Free(IpAddr, Uuid),
    /// A device gave it back, but a certificate still names it.
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

/// A transaction that has not ended, of a session or prepared.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    /// Its snapshot is as old as its first statement, so 40001 is always a right answer.
    pub(super) stale: bool,
    effects: Vec<Effect>,
    savepoints: Vec<usize>,
}

impl Work {
    /// A transaction that has done nothing yet.
    pub(super) fn begun(stale: bool) -> Self {
        Self { stale, ..Self::default() }
    }

    /// Sets a savepoint; answers its number.
    pub(super) fn savepoint(&mut self) -> usize {
        self.savepoints.push(self.effects.len());
        self.savepoints.len()
    }

    /// Forgets all since the newest savepoint, which stays; `false` when there is none.
    pub(super) fn rewind(&mut self) -> bool {
        let Some(mark) = self.savepoints.last() else { return false };
        self.effects.truncate(*mark);
        true
    }

    /// Gives up the newest savepoint and keeps what was done since; answers its number.
    pub(super) fn release(&mut self) -> Option<usize> {
        let number = self.savepoints.len();
        self.savepoints.pop().map(|_| number)
    }

    /// Number of the newest savepoint.
    pub(super) fn newest(&self) -> Option<usize> {
        (!self.savepoints.is_empty()).then_some(self.savepoints.len())
    }
}

/// Everything there is to know.
#[derive(Debug, Default)]
pub(super) struct World {
    /// Whether sessions see in a common map what others have in flight, and pass it by instead of waiting.
    pub(super) shared_map: bool,
    /// All addresses the project can give out.
    pub(super) universe: BTreeSet<IpAddr>,
    /// What is committed.
    pub(super) rows: Rows,
    /// Devices with a valid certificate.
    pub(super) certified: BTreeSet<Uuid>,
    /// Transactions that have not ended, by name.
    pub(super) open: BTreeMap<String, Work>,
}

impl World {
    /// Ends a transaction; one that nobody began is no error.
    pub(super) fn end(&mut self, who: &str, commit: bool) {
        let work = self.open.remove(who).unwrap_or_default();
        for effect in work.effects.into_iter().filter(|_| commit) {
            self.rows.apply(effect);
        }
    }

    /// Whether any transaction has done something to this address or device.
    pub(super) fn in_flight(&self, ip: Option<IpAddr>, device: Uuid) -> bool {
        let touched = |effect: &Effect| Some(effect.parts().0) == ip || effect.parts().1 == device;
        self.open.values().flat_map(|work| &work.effects).any(touched)
    }

    fn own(&self, who: &str) -> Work {
        self.open.get(who).cloned().unwrap_or_default()
    }

    fn others<'a>(&'a self, who: &'a str) -> impl Iterator<Item = Effect> + 'a {
        let open = self.open.iter().filter(move |(name, _)| name.as_str() != who);
        open.flat_map(|(_, work)| work.effects.iter().copied())
    }

    /// What the transaction `who` sees.
    pub(super) fn view(&self, who: &str) -> Rows {
        let mut view = self.rows.clone();
        self.own(who).effects.into_iter().for_each(|effect| view.apply(effect));
        view
    }

    /// Addresses that nobody holds, has held in a transaction that has not ended, or waits for.
    pub(super) fn free(&self) -> BTreeSet<IpAddr> {
        let taken: BTreeSet<_> =
            self.open.values().flat_map(|work| &work.effects).filter_map(|e| e.takes()).collect();
        let gone = |ip: &IpAddr| {
            self.rows.held.contains_key(ip) || self.rows.quarantined.contains_key(ip) || taken.contains(ip)
        };
        self.universe.iter().copied().filter(|ip| !gone(ip)).collect()
    }

    /// Judges what `allocate_ip` answered, and remembers it.
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
        // What this transaction gave back itself it may have again at once, or only after its commit.
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
        // Rolling back a take frees the address, unless the transaction had released it itself before.
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
                // A map of one's own does not show what others have in flight, so there a search may run into it.
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

    /// Judges what `release_ip` answered, and remembers it.
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

    /// Outside a transaction, what was done is committed at once.
    fn remember(&mut self, who: &str, effect: Effect) {
        match self.open.get_mut(who) {
            Some(work) => work.effects.push(effect),
            None => self.rows.apply(effect),
        }
    }
}
