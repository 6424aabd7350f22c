//! Request batching: items that arrive while a batch is under way share the next one.
//!
//! Under little load an item is processed at once and by itself. Under much load many items share one
//! transaction: the round trips and the start of each statement cost more than the work itself. Work that may
//! take long does not belong here, since every item behind it would wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::{ApiError, UNAVAILABLE};

/// Batches under way at once: while one waits for the database, the certificates of the next are signed.
const MAX_BATCHES: usize = 2;
/// Largest batch: the fixed cost of a statement is negligible by then, and no item waits long for the others.
const MAX_ITEMS: usize = 64;

/// A queue of items; only items of equal keys share a batch.
#[derive(Debug)]
pub(crate) struct Batcher<K, T, R> {
    queue: Arc<Mutex<Queue<K, T, R>>>,
}

#[derive(Debug)]
struct Queue<K, T, R> {
    items: VecDeque<(K, T, Reply<T, R>)>,
    running: usize,
}

#[derive(Debug)]
pub(crate) enum Outcome<T, R> {
    Done(R),
    /// The batch failed, because of one item or because of a lock: try this item by itself.
    RetryAlone(T),
}

type Reply<T, R> = oneshot::Sender<Result<Outcome<T, R>, ApiError>>;

impl<K, T, R> Default for Batcher<K, T, R> {
    fn default() -> Self {
        Self { queue: Arc::new(Mutex::new(Queue { items: VecDeque::new(), running: 0 })) }
    }
}

impl<K: PartialEq + 'static, T: 'static, R: 'static> Batcher<K, T, R> {
    /// Submits an item; `run_batch` processes it together with concurrently submitted items, atomically, and
    /// answers one result per item in their order. A batch is finished even if the callers go away. An error
    /// of `run_batch` is returned only if the item was alone in its batch.
    ///
    /// Call it on a thread of actix: the batch is a local task.
    pub(crate) async fn submit<W>(&self, key: K, item: T, run_batch: W) -> Result<Outcome<T, R>, ApiError>
    where
        W: AsyncFn(&K, &[T]) -> Result<Vec<R>, ApiError> + 'static,
    {
        let (reply, replied) = oneshot::channel();
        if let Some(mut permit) = self.enqueue(key, item, reply) {
            tokio::task::spawn_local(async move {
                while let Some(Batch { key, items, replies }) = permit.next_batch() {
                    let outcomes: Vec<_> = match run_batch(&key, &items).await {
                        Ok(results) => results.into_iter().map(|result| Ok(Outcome::Done(result))).collect(),
                        Err(error) if items.len() == 1 && error.meaning() != UNAVAILABLE => vec![Err(error)],
                        Err(_) => items.into_iter().map(|item| Ok(Outcome::RetryAlone(item))).collect(),
                    };
                    for (outcome, reply) in outcomes.into_iter().zip(replies) {
                        // An error means that this caller has hung up; it will ask again.
                        drop(reply.send(outcome));
                    }
                }
            });
        }
        replied.await.map_err(|_| ApiError::internal(&"a batch ended without an answer"))?
    }

    /// Queues an item; answers a permit if the caller has to run batches, because fewer than allowed are
    /// under way.
    fn enqueue(&self, key: K, item: T, reply: Reply<T, R>) -> Option<Permit<K, T, R>> {
        let mut queue = lock(&self.queue);
        queue.items.push_back((key, item, reply));
        let free = queue.running < MAX_BATCHES;
        queue.running += usize::from(free);
        free.then(|| Permit { queue: Arc::clone(&self.queue), returned: false })
    }
}

struct Batch<K, T, R> {
    key: K,
    items: Vec<T>,
    replies: Vec<Reply<T, R>>,
}

/// The right to run one batch at a time.
struct Permit<K, T, R> {
    queue: Arc<Mutex<Queue<K, T, R>>>,
    returned: bool,
}

impl<K: PartialEq, T, R> Permit<K, T, R> {
    /// The first item of the queue with those behind it that have the same key. `None` returns the permit.
    fn next_batch(&mut self) -> Option<Batch<K, T, R>> {
        let mut queue = lock(&self.queue);
        let Some((key, first, reply)) = queue.items.pop_front() else {
            // Returned under the lock that found the queue empty, so that an item queued next sees the free
            // permit.
            queue.running -= 1;
            self.returned = true;
            return None;
        };
        let mut batch = Batch { key, items: vec![first], replies: vec![reply] };
        for (other, item, reply) in std::mem::take(&mut queue.items) {
            if other == batch.key && batch.items.len() < MAX_ITEMS {
                batch.items.push(item);
                batch.replies.push(reply);
            } else {
                queue.items.push_back((other, item, reply));
            }
        }
        Some(batch)
    }
}

impl<K, T, R> Drop for Permit<K, T, R> {
    fn drop(&mut self) {
        if !self.returned {
            // The batch panicked, or the process ends. Without another permit the queue would not be
            // served, so its items are dropped, and each caller gets an error.
            let mut queue = lock(&self.queue);
            queue.running -= 1;
            if queue.running == 0 {
                queue.items.clear();
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

    /// Submits items of these keys at once, with batches that wait for a signal; answers key and size of each
    /// batch.
    async fn batches(keys: &[u8]) -> Vec<(u8, usize)> {
        let batcher = Batcher::<u8, usize, usize>::default();
        let (ran, signal) = (Rc::new(RefCell::new(vec![])), Rc::new(Notify::new()));
        let calls = keys.iter().enumerate().map(|(item, key)| {
            let (ran, signal) = (ran.clone(), signal.clone());
            batcher.submit(*key, item, async move |key: &u8, items: &[usize]| {
                ran.borrow_mut().push((*key, items.len()));
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
                matches!(answer, Ok(Outcome::Done(done)) if done == item * 10),
                "every item gets its own result"
            );
        }
        ran.take()
    }

    #[actix_web::test]
    async fn items_submitted_during_a_batch_share_the_next_one_of_their_key() {
        assert_eq!(batches(&[1]).await, [(1, 1)]);
        let many = batches(&[1; 200]).await;
        assert!(many.len() < 10 && many.iter().all(|(_, size)| *size <= MAX_ITEMS), "{many:?}");
        let mixed = batches(&[1, 1, 2, 1, 2, 1]).await;
        assert_eq!(mixed.iter().map(|(_, size)| size).sum::<usize>(), 6);
        assert!(mixed.contains(&(2, 2)), "only items of one key share a batch: {mixed:?}");
    }

    #[actix_web::test]
    async fn an_error_is_returned_only_to_an_item_that_was_alone() {
        let batcher = Batcher::<u8, u8, ()>::default();
        let refuse = async |_: &u8, items: &[u8]| {
            tokio::task::yield_now().await;
            if items.contains(&9) { Err(ApiError::bad_argument("nine")) } else { Ok(vec![(); items.len()]) }
        };
        let alone = batcher.submit(0, 9, refuse).await;
        assert!(matches!(alone, Err(error) if error.to_string().contains("nine")));
        let calls = [1, 2, 3, 9, 4].map(|item| batcher.submit(0, item, refuse));
        let answers = join_all(calls).await;
        assert!(matches!(answers[3], Ok(Outcome::RetryAlone(9))), "{answers:?}");
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }

    #[actix_web::test]
    async fn a_panicking_batch_fails_its_items_and_frees_its_permit() {
        let batcher = Batcher::<u8, u8, ()>::default();
        let calls = (0..4).map(|item| batcher.submit(0, item, async |_: &u8, _: &[u8]| panic!("on purpose")));
        for answer in join_all(calls).await {
            assert!(answer.is_err());
        }
        let after = batcher.submit(0, 0, async |_: &u8, items: &[u8]| Ok(vec![(); items.len()]));
        assert!(matches!(after.await, Ok(Outcome::Done(()))), "later items are served");
    }
}
