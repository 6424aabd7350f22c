//! How much of something each key may have open at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

#[cfg(test)]
mod tests {
    use super::*;

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
