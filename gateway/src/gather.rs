//! Work that is done together: whoever comes while others are under way goes with the next.
//!
//! Under little load everybody goes at once and alone. Under much, many share one transaction, one journey to the
//! database and the start of each statement there, which cost more than the work itself. What may take long does not
//! belong here, since everybody behind it would wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::ApiError;
use crate::error::UNAVAILABLE;

/// Parties under way at once: while one is in the database, the next is signed for.
const AT_ONCE: usize = 2;
/// Most of one party: what a statement costs to start is nothing then, and nobody waits long for the others.
const MOST: usize = 64;

/// Where items wait for each other; only those of the same key go together.
#[derive(Debug)]
pub struct Gather<K, T, R> {
    waiting: Arc<Mutex<Waiting<K, T, R>>>,
}

#[derive(Debug)]
struct Waiting<K, T, R> {
    items: VecDeque<(K, T, Answer<T, R>)>,
    under_way: usize,
}

/// What came of an item.
#[derive(Debug)]
pub enum Joined<T, R> {
    /// It is done.
    Done(R),
    /// It has to be tried alone: something is wrong with one of the party, or it would have had to wait for somebody.
    Alone(T),
}

type Answer<T, R> = oneshot::Sender<Result<Joined<T, R>, ApiError>>;

impl<K, T, R> Default for Gather<K, T, R> {
    fn default() -> Self {
        Self { waiting: Arc::new(Mutex::new(Waiting { items: VecDeque::new(), under_way: 0 })) }
    }
}

impl<K: PartialEq + 'static, T: 'static, R: 'static> Gather<K, T, R> {
    /// Has `party` do this item, with others that come at the same time, all or none; it answers for each in their order.
    /// It goes on when the caller goes away.
    ///
    /// # Errors
    /// What `party` answers when the item was alone.
    pub async fn join<W>(&self, key: K, item: T, party: W) -> Result<Joined<T, R>, ApiError>
    where
        W: AsyncFn(&K, &[T]) -> Result<Vec<R>, ApiError> + 'static,
    {
        let (answer, answered) = oneshot::channel();
        if let Some(mut place) = self.wait(key, item, answer) {
            actix_web::rt::spawn(async move {
                while let Some(Party { key, items, answers }) = place.next() {
                    let results: Vec<_> = match party(&key, &items).await {
                        Ok(done) => done.into_iter().map(|one| Ok(Joined::Done(one))).collect(),
                        Err(error) if items.len() == 1 && error.meaning() != UNAVAILABLE => vec![Err(error)],
                        Err(_) => items.into_iter().map(|item| Ok(Joined::Alone(item))).collect(),
                    };
                    for (result, answer) in results.into_iter().zip(answers) {
                        // Who has gone away asks again.
                        drop(answer.send(result));
                    }
                }
            });
        }
        answered.await.map_err(|_| ApiError::internal(&"what was to be done together was not done"))?
    }

    /// Lines up; the place is free when nobody would come for the item.
    fn wait(&self, key: K, item: T, answer: Answer<T, R>) -> Option<Place<K, T, R>> {
        let mut waiting = lock(&self.waiting);
        waiting.items.push_back((key, item, answer));
        let free = waiting.under_way < AT_ONCE;
        waiting.under_way += usize::from(free);
        free.then(|| Place { waiting: Arc::clone(&self.waiting), left: false })
    }
}

/// Those who go together.
struct Party<K, T, R> {
    key: K,
    items: Vec<T>,
    answers: Vec<Answer<T, R>>,
}

/// One of the parties that may be under way.
struct Place<K, T, R> {
    waiting: Arc<Mutex<Waiting<K, T, R>>>,
    left: bool,
}

impl<K: PartialEq, T, R> Place<K, T, R> {
    /// The next that go together: the first, and those behind it that can go with it. None, and the place is free again.
    fn next(&mut self) -> Option<Party<K, T, R>> {
        let mut waiting = lock(&self.waiting);
        let Some((key, first, answer)) = waiting.items.pop_front() else {
            // Under the same lock, so that whoever comes now sees it.
            waiting.under_way -= 1;
            self.left = true;
            return None;
        };
        let mut party = Party { key, items: vec![first], answers: vec![answer] };
        for (other, item, answer) in std::mem::take(&mut waiting.items) {
            if other == party.key && party.items.len() < MOST {
                party.items.push(item);
                party.answers.push(answer);
            } else {
                waiting.items.push_back((other, item, answer));
            }
        }
        Some(party)
    }
}

impl<K, T, R> Drop for Place<K, T, R> {
    fn drop(&mut self) {
        if !self.left {
            // The work panicked, or the gateway ends. Whoever nobody would serve is told.
            let mut waiting = lock(&self.waiting);
            waiting.under_way -= 1;
            if waiting.under_way == 0 {
                waiting.items.clear();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use futures::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    /// Joins items of these keys at once, with a party that waits for a signal, and answers the parties that went.
    async fn parties(keys: &[u8]) -> Vec<(u8, usize)> {
        let gather = Gather::<u8, usize, usize>::default();
        let (went, signal) = (Rc::new(RefCell::new(vec![])), Rc::new(Notify::new()));
        let calls = keys.iter().enumerate().map(|(item, key)| {
            let (went, signal) = (went.clone(), signal.clone());
            gather.join(*key, item, async move |key: &u8, items: &[usize]| {
                went.borrow_mut().push((*key, items.len()));
                signal.notified().await;
                Ok(items.iter().map(|item| item * 10).collect())
            })
        });
        let go = async {
            for _ in keys {
                tokio::task::yield_now().await;
                signal.notify_one();
            }
        };
        let (answers, ()) = futures::future::join(join_all(calls), go).await;
        for (item, answer) in answers.into_iter().enumerate() {
            assert!(
                matches!(answer, Ok(Joined::Done(done)) if done == item * 10),
                "everyone gets his own answer"
            );
        }
        went.take()
    }

    #[actix_web::test]
    async fn who_comes_meanwhile_goes_together() {
        assert_eq!(parties(&[1]).await, [(1, 1)]);
        let crowd = parties(&[1; 200]).await;
        assert!(crowd.len() < 10 && crowd.iter().all(|(_, size)| *size <= MOST), "{crowd:?}");
        let mixed = parties(&[1, 1, 2, 1, 2, 1]).await;
        assert_eq!(mixed.iter().map(|(_, size)| size).sum::<usize>(), 6);
        assert!(mixed.contains(&(2, 2)), "only those of one key go together: {mixed:?}");
    }

    #[actix_web::test]
    async fn what_is_wrong_with_one_is_his_alone() {
        let gather = Gather::<u8, u8, ()>::default();
        let refuse = async |_: &u8, items: &[u8]| {
            tokio::task::yield_now().await;
            if items.contains(&9) { Err(ApiError::bad_argument("nine")) } else { Ok(vec![(); items.len()]) }
        };
        assert!(matches!(gather.join(0, 9, refuse).await, Err(error) if error.to_string().contains("nine")));
        let calls = [1, 2, 3, 9, 4].map(|item| gather.join(0, item, refuse));
        let answers = join_all(calls).await;
        assert!(matches!(answers[3], Ok(Joined::Alone(9))), "{answers:?}");
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    #[actix_web::test]
    async fn who_is_left_behind_is_told() {
        let gather = Gather::<u8, u8, ()>::default();
        let calls = (0..4).map(|item| gather.join(0, item, async |_: &u8, _: &[u8]| panic!("on purpose")));
        for answer in join_all(calls).await {
            assert!(answer.is_err());
        }
        let after = gather.join(0, 0, async |_: &u8, items: &[u8]| Ok(vec![(); items.len()]));
        assert!(matches!(after.await, Ok(Joined::Done(()))), "the next are served");
    }
}
