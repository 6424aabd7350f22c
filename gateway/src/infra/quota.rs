//! How much of something each key may have open at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::rate_limit::client_prefix;
use crate::error::{ApiError, RATE_LIMITED};

/// Files of one account on their way: several players and uploads.
const MAX_OF_ACCOUNT: usize = 256;
/// Downloads of one address without an account, and of all of them.
const MAX_OF_STRANGER: usize = 8;
const MAX_OF_STRANGERS: usize = 64;

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

/// Bodies that take long: files on their way, for accounts, and programs, for anybody.
#[derive(Debug)]
pub(crate) struct Transfers {
    accounts: Quota<Uuid>,
    strangers: Quota<IpAddr>,
    all_strangers: Quota<()>,
}

/// A stranger's part in both quotas.
pub(crate) type StrangersPermit = (Permit<IpAddr>, Permit<()>);

impl Transfers {
    /// `half` of all connections is more than any of them needs.
    pub(crate) fn new(half: usize) -> Self {
        Self {
            accounts: Quota::new(half.min(MAX_OF_ACCOUNT)),
            strangers: Quota::new(MAX_OF_STRANGER),
            all_strangers: Quota::new(half.min(MAX_OF_STRANGERS)),
        }
    }

    /// Fails with 429 for an account that has too many files on their way.
    pub(crate) fn of_account(&self, account: Uuid) -> Result<Permit<Uuid>, ApiError> {
        self.accounts.take(account).ok_or_else(|| {
            let detail = format!("this account has {} files on their way", self.accounts.max());
            ApiError::new(RATE_LIMITED, detail).hint("Wait until some have arrived.")
        })
    }

    /// Fails with 429 for an address, or all of them together, with too many downloads.
    pub(crate) fn of_stranger(&self, client: Option<IpAddr>) -> Result<StrangersPermit, ApiError> {
        let busy = || {
            ApiError::new(RATE_LIMITED, "too many downloads of this are on their way")
                .hint("Try again when some have arrived.")
        };
        let own = self.strangers.take(client_prefix(client)).ok_or_else(busy)?;
        Ok((own, self.all_strangers.take(()).ok_or_else(busy)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_has_a_share_of_downloads_and_all_of_them_have_one() {
        let transfers = Transfers::new(20);
        let client = |last| Some(IpAddr::from([192, 0, 2, last]));
        let mut taken: Vec<_> = (0..8).map(|_| transfers.of_stranger(client(1)).unwrap()).collect();
        assert_eq!(transfers.of_stranger(client(1)).unwrap_err().meaning(), RATE_LIMITED);
        taken.extend((0..12).map(|number| transfers.of_stranger(client(2 + number % 2)).unwrap()));
        assert!(transfers.of_stranger(client(9)).is_err());
        drop(taken);
        transfers.of_stranger(client(9)).unwrap();
        assert!(transfers.of_account(Uuid::nil()).is_ok());
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
