//! How much of something each key may have open at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::Either;
use uuid::Uuid;

use super::client_prefix::client_prefix;
use crate::error::{ApiError, RATE_LIMITED};

/// Transfers that one account has open: several players and uploads.
const MAX_OF_ACCOUNT: usize = 256;
/// Files that one address has open by links of an account, and all of them by its links: a link can be
/// passed on, and must not use up what the account has for itself.
const MAX_OF_LINK_HOLDER: usize = 32;
const MAX_OF_LINKS: usize = 256;
/// Streams of one device: the open client sends the output of one command at a time.
const MAX_OF_DEVICE: usize = 4;
/// Downloads of one address without an account, and of all of them.
const MAX_OF_ANONYMOUS: usize = 8;
const MAX_OF_ALL_ANONYMOUS: usize = 64;
/// Calls of agents larger than usual that one address has on their way, and all of them: each is kept in
/// memory before it is known who sends it.
const MAX_OF_LARGE_CALLS: usize = 4;
const MAX_OF_ALL_LARGE_CALLS: usize = 32;

/// Clones share the counts.
#[derive(Debug)]
pub(crate) struct Quota<K> {
    max: usize,
    open: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K> Clone for Quota<K> {
    fn clone(&self) -> Self {
        Self { max: self.max, open: Arc::clone(&self.open) }
    }
}

/// One of those that are open; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit<K: Eq + Hash + Copy> {
    quota: Quota<K>,
    key: K,
}

impl<K: Eq + Hash + Copy> Quota<K> {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, open: Arc::default() }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// `None` if the key has all that it may have.
    pub(crate) fn take(&self, key: K) -> Option<Permit<K>> {
        let mut open = self.lock();
        let count = open.entry(key).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Permit { quota: self.clone(), key })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Copy> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut open = self.quota.lock();
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// Bodies that take long: files, for accounts and holders of their links; output of devices; and programs, for
/// anybody.
#[derive(Debug)]
pub(crate) struct Transfers {
    accounts: Quota<Uuid>,
    link_holders: Quota<(Uuid, IpAddr)>,
    links: Quota<Uuid>,
    devices: Quota<Uuid>,
    anonymous: Quota<IpAddr>,
    all_anonymous: Quota<()>,
    large_calls: Quota<IpAddr>,
    all_large_calls: Quota<()>,
}

/// The part of a link's holder in both quotas.
pub(crate) type LinkPermit = (Permit<(Uuid, IpAddr)>, Permit<Uuid>);

/// The part of a viewer of a file: of a link's holder, or of the account itself.
pub(crate) type ViewerPermit = Either<LinkPermit, Permit<Uuid>>;

/// The part of an anonymous client in both quotas.
pub(crate) type AnonymousPermit = (Permit<IpAddr>, Permit<()>);

impl Transfers {
    /// `half` of all connections is more than any of them needs.
    pub(crate) fn new(half: usize) -> Self {
        Self {
            accounts: Quota::new(half.min(MAX_OF_ACCOUNT)),
            link_holders: Quota::new(half.min(MAX_OF_LINK_HOLDER)),
            links: Quota::new(half.min(MAX_OF_LINKS)),
            devices: Quota::new(half.min(MAX_OF_DEVICE)),
            anonymous: Quota::new(MAX_OF_ANONYMOUS),
            all_anonymous: Quota::new(half.min(MAX_OF_ALL_ANONYMOUS)),
            large_calls: Quota::new(MAX_OF_LARGE_CALLS),
            all_large_calls: Quota::new(half.min(MAX_OF_ALL_LARGE_CALLS)),
        }
    }

    /// Fails with 429 for an account that has too many transfers open.
    pub(crate) fn of_account(&self, account: Uuid) -> Result<Permit<Uuid>, ApiError> {
        self.accounts.take(account).ok_or_else(|| {
            let detail = format!("this account has {} transfers open", self.accounts.max());
            ApiError::new(RATE_LIMITED, detail).hint("Wait until some have ended.")
        })
    }

    /// Fails with 429 if the client, or all holders of links of the account, have too many files open.
    pub(crate) fn of_link(&self, account: Uuid, client: Option<IpAddr>) -> Result<LinkPermit, ApiError> {
        let busy = || {
            ApiError::new(RATE_LIMITED, "too many files of this account are open by links")
                .hint("Try again when some have been closed, or sign in.")
        };
        let own = self.link_holders.take((account, client_prefix(client))).ok_or_else(busy)?;
        Ok((own, self.links.take(account).ok_or_else(busy)?))
    }

    /// As [`Self::of_link`] for somebody who views a file by a link of the account, else as [`Self::of_account`].
    pub(crate) fn of_viewer(
        &self,
        account: Uuid,
        by_link: bool,
        client: Option<IpAddr>,
    ) -> Result<ViewerPermit, ApiError> {
        Ok(if by_link {
            Either::Left(self.of_link(account, client)?)
        } else {
            Either::Right(self.of_account(account)?)
        })
    }

    /// Fails with 429 for a device that has too many streams open.
    pub(crate) fn of_device(&self, device: Uuid) -> Result<Permit<Uuid>, ApiError> {
        self.devices.take(device).ok_or_else(|| {
            let detail = format!("this device has {} streams open", self.devices.max());
            ApiError::new(RATE_LIMITED, detail).hint("End one of them.")
        })
    }

    /// Fails with 429 for an address, or all of them together, with too many downloads.
    pub(crate) fn of_anonymous(&self, client: Option<IpAddr>) -> Result<AnonymousPermit, ApiError> {
        let busy = || {
            ApiError::new(RATE_LIMITED, "too many downloads at the same time").hint("Try again in a minute.")
        };
        let own = self.anonymous.take(client_prefix(client)).ok_or_else(busy)?;
        Ok((own, self.all_anonymous.take(()).ok_or_else(busy)?))
    }

    /// Fails with 429 for an address, or all of them together, with too many large calls on their way.
    pub(crate) fn of_large_call(&self, client: Option<IpAddr>) -> Result<AnonymousPermit, ApiError> {
        let busy = || {
            ApiError::new(RATE_LIMITED, "too many large calls of agents at the same time")
                .hint("Send it again in a moment, or in portions.")
        };
        let own = self.large_calls.take(client_prefix(client)).ok_or_else(busy)?;
        Ok((own, self.all_large_calls.take(()).ok_or_else(busy)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anonymous_client_has_a_share_of_downloads_and_all_of_them_have_one() {
        let transfers = Transfers::new(20);
        let client = |last| Some(IpAddr::from([192, 0, 2, last]));
        let mut taken: Vec<_> = (0..8).map(|_| transfers.of_anonymous(client(1)).unwrap()).collect();
        assert_eq!(transfers.of_anonymous(client(1)).unwrap_err().meaning(), RATE_LIMITED);
        taken.extend((0..12).map(|number| transfers.of_anonymous(client(2 + number % 2)).unwrap()));
        assert!(transfers.of_anonymous(client(9)).is_err());
        drop(taken);
        transfers.of_anonymous(client(9)).unwrap();
        assert!(transfers.of_account(Uuid::nil()).is_ok());
    }

    #[test]
    fn holders_of_links_leave_the_account_and_each_other_something() {
        let (transfers, account) = (Transfers::new(1000), Uuid::from_u128(1));
        let client = |last: usize| Some(IpAddr::from([192, 0, 2, last as u8]));
        let one: Vec<_> = (0..40).map_while(|_| transfers.of_link(account, client(1)).ok()).collect();
        assert_eq!(one.len(), MAX_OF_LINK_HOLDER);
        transfers.of_link(account, client(2)).unwrap();
        let all: Vec<_> =
            (0..900).filter_map(|n| transfers.of_link(account, client(2 + n % 200)).ok()).collect();
        assert_eq!(one.len() + all.len(), MAX_OF_LINKS);
        transfers.of_account(account).unwrap();
        transfers.of_link(Uuid::from_u128(2), client(1)).unwrap();
    }

    #[test]
    fn a_device_has_a_few_streams() {
        let (transfers, device) = (Transfers::new(1000), Uuid::from_u128(1));
        let open: Vec<_> = (0..10).map_while(|_| transfers.of_device(device).ok()).collect();
        assert_eq!(open.len(), MAX_OF_DEVICE);
        transfers.of_device(Uuid::from_u128(2)).unwrap();
    }

    #[test]
    fn a_key_that_has_its_share_waits_until_one_is_given_back_and_its_neighbours_do_not() {
        let quota = Quota::new(2);
        let first = quota.take('a').unwrap();
        let _second = quota.take('a').unwrap();
        assert!(quota.take('a').is_none());
        let neighbour = quota.take('b');
        assert!(neighbour.is_some());
        drop(first);
        assert!(quota.take('a').is_some());
        drop(neighbour);
        assert_eq!(quota.lock().len(), 1, "nothing is remembered of a key without any");
    }
}
