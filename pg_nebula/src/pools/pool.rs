//! A pool as the search for a free address sees it, in memory.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use nebula_core::address::{Network, number};
use pgrx::Uuid;

/// A pool as the search for a free address sees it.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    /// Project it belongs to.
    pub(crate) project: Uuid,
    /// Identifier.
    pub(crate) id: i32,
    /// Name, unique in the project.
    pub(crate) name: String,
    /// Its range.
    pub(crate) network: Network,
    /// Address kept back for a gateway.
    pub(crate) gateway: Option<IpAddr>,
    /// Whether it gives out addresses; what is held stays held.
    pub(crate) enabled: bool,
    /// Parts that not everybody gets addresses from, by address; they do not overlap.
    pub(crate) kept: Vec<Kept>,
    /// From this address on an allocation may cross the next threshold that nobody was told of; `None`: none left.
    pub(crate) watch_from: Option<u128>,
}

/// A part of a pool that is excluded, or kept for a group of devices.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Its addresses.
    pub(crate) range: RangeInclusive<u128>,
    /// Its name, unique in the project.
    pub(crate) label: String,
    /// Whether devices that name the label get addresses from it; otherwise nobody does.
    pub(crate) given: bool,
}

impl Pool {
    /// Whether `address` may be given to a device of no group.
    pub(crate) fn assigns(&self, address: IpAddr) -> bool {
        self.network.contains(address)
            && self.network.assignable().contains(&number(address))
            && self.gateway != Some(address)
            && self.kept_at(number(address)).is_none()
    }

    /// The lowest address at or above `from` that may be given to a device of no group.
    pub(crate) fn assignable_from(&self, from: u128) -> Option<u128> {
        let range = self.network.assignable();
        let mut next = from.max(*range.start());
        while next <= *range.end() {
            next = match self.kept_at(next) {
                Some(kept) => kept.range.end().checked_add(1)?,
                None if self.gateway.map(number) == Some(next) => next.checked_add(1)?,
                None => return Some(next),
            };
        }
        None
    }

    /// The kept part in which the address with this number lies.
    pub(crate) fn kept_at(&self, number: u128) -> Option<&Kept> {
        let after = self.kept.partition_point(|kept| *kept.range.start() <= number);
        self.kept[..after].last().filter(|kept| *kept.range.end() >= number)
    }

    /// Where usage may reach `percent` of what can be given out, as long as the lowest address goes first.
    pub(super) fn position(&self, percent: i32) -> Option<u128> {
        let assignable = self.network.assignable();
        let sum = |given: bool| -> u128 {
            let parts = self.kept.iter().filter(|kept| kept.given == given);
            parts.map(|kept| kept.range.end() - kept.range.start() + 1).sum()
        };
        let count = self.network.assignable_count().saturating_sub(sum(false));
        let percent = u128::from(percent.unsigned_abs());
        // Divided first where the product would overflow; a pool that large does not miss the rest.
        let nth = count.checked_mul(percent).map_or(count / 100 * percent, |product| product.div_ceil(100));
        // The ranges of groups may be full already.
        let nth = nth.saturating_sub(sum(true));
        assignable.start().checked_add(nth.max(1) - 1)
    }
}
