//! A pool in memory: its range and what is reserved in it.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use nebula_core::address::{Network, number};
use pgrx::Uuid;

/// A row of nebula.pool with its reservations.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) project: Uuid,
    pub(crate) id: i32,
    /// Unique in the project.
    pub(crate) name: String,
    pub(crate) network: Network,
    /// Address reserved for a gateway.
    pub(crate) gateway: Option<IpAddr>,
    /// A disabled pool assigns no more addresses; held ones stay held.
    pub(crate) enabled: bool,
    /// Interface of a node whose peers are assigned addresses from it.
    pub(crate) interface: Option<Uuid>,
    /// Sorted by address, without overlaps.
    pub(crate) reservations: Vec<Reservation>,
    /// Assigning this address, or a higher one, as the lowest free one may raise usage to the next threshold
    /// that was not notified yet. `None`: no threshold is left.
    pub(crate) next_threshold: Option<u128>,
}

/// Which kind of holder a pool is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Devices of the overlay.
    Device,
    /// WireGuard peers, whose pools lie outside of the overlay.
    Peer,
}

/// A part of a pool that is excluded, or reserved for a group of devices.
#[derive(Clone, Debug)]
pub(crate) struct Reservation {
    pub(crate) range: RangeInclusive<u128>,
    /// Unique in the project.
    pub(crate) label: String,
    /// `true`: devices with this label or group are assigned addresses from it. `false`: no device is.
    pub(crate) for_group: bool,
}

impl Pool {
    /// Whether a device without a group may be assigned `address`.
    pub(crate) fn is_assignable(&self, address: IpAddr) -> bool {
        self.network.contains(address)
            && self.network.assignable().contains(&number(address))
            && self.gateway != Some(address)
            && self.reservation_at(number(address)).is_none()
    }

    /// The lowest address at or above `from` that a device without a group may be assigned.
    pub(crate) fn assignable_from(&self, from: u128) -> Option<u128> {
        let range = self.network.assignable();
        let mut next = from.max(*range.start());
        while next <= *range.end() {
            next = match self.reservation_at(next) {
                Some(reservation) => reservation.range.end().checked_add(1)?,
                None if self.gateway.map(number) == Some(next) => next.checked_add(1)?,
                None => return Some(next),
            };
        }
        None
    }

    /// The reservation that covers the address with this number.
    pub(crate) fn reservation_at(&self, number: u128) -> Option<&Reservation> {
        let after = self.reservations.partition_point(|reservation| *reservation.range.start() <= number);
        self.reservations[..after].last().filter(|reservation| *reservation.range.end() >= number)
    }

    /// Whether a part of the pool is reserved for a group of devices.
    pub(crate) fn has_group_ranges(&self) -> bool {
        self.reservations.iter().any(|reservation| reservation.for_group)
    }

    /// The address at which usage may reach `percent`, given that the lowest free address is assigned first.
    pub(super) fn address_at_usage(&self, percent: i32) -> Option<u128> {
        let assignable = self.network.assignable();
        let reserved = |for_group: bool| -> u128 {
            let parts = self.reservations.iter().filter(|reservation| reservation.for_group == for_group);
            parts.map(|reservation| reservation.range.end() - reservation.range.start() + 1).sum()
        };
        let count = self.network.assignable_count().saturating_sub(reserved(false));
        let percent = u128::from(percent.unsigned_abs());
        // In a pool so large that the product overflows, the remainder of the division does not matter.
        let nth = count.checked_mul(percent).map_or(count / 100 * percent, |product| product.div_ceil(100));
        // The worst case: the ranges of groups are full already.
        let nth = nth.saturating_sub(reserved(true));
        assignable.start().checked_add(nth.max(1) - 1)
    }
}
