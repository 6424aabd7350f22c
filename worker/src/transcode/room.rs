//! Room for the files of a job: taken before it starts, watched while it runs.
//!
//! A job that does not fit waits until there is room instead of failing: the film is not at fault.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nebula_storage::{Disk, NoRoom, Room};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::queue::{Failure, Retry};

/// Time between looks while a job writes. In between, the limit of the child's output holds.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// Jobs whose need is remembered at most.
const MAX_LEARNED: usize = 10_000;

/// The room of this worker.
#[derive(Debug)]
pub(super) struct WorkRoom {
    scratch: Disk,
    /// The store's disk, where that is another one.
    store: Option<Disk>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that running jobs of this worker may write, by job.
    taken: HashMap<i64, u64>,
    /// Bytes of the output of jobs that ran out of room, as far as it is known.
    learned: HashMap<i64, u64>,
}

/// Room that a running job has taken; dropping it gives it back.
pub(super) struct TakenRoom<'a> {
    room: &'a WorkRoom,
    job: i64,
    /// Bytes that are left for the output.
    pub(super) output_limit: u64,
}

impl WorkRoom {
    /// `store` is the disk of a store that is a folder.
    pub(super) fn new(scratch: Disk, store: Option<Disk>) -> Self {
        let store = store.filter(|store| !same_disk(store.folder(), scratch.folder()));
        Self { scratch, store, state: Mutex::default() }
    }

    /// Takes room for a copy of the input of `copy` bytes, and for an output made from `size` bytes.
    ///
    /// How large an output becomes is not known before. The first attempt starts when half the size of the
    /// upload is free; one that ran out of room has learned how much it needs.
    pub(super) async fn take(&self, job: i64, copy: u64, size: u64) -> Result<TakenRoom<'_>, Failure> {
        let room = look(&self.scratch).await?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let output = state.learned.get(&job).copied().unwrap_or(size / 2);
        let others: u64 = state.taken.values().sum();
        if let Some(refusal) = room.refusal(copy + output + others) {
            return Err(no_room(&refusal));
        }
        state.taken.insert(job, copy + output);
        Ok(TakenRoom { room: self, job, output_limit: room.left().saturating_sub(copy + others).max(output) })
    }

    /// Ends when only the reserve is left on the scratch disk, whoever filled it.
    pub(super) async fn watch(&self) -> Result<Infallible, Failure> {
        loop {
            sleep(WATCH_INTERVAL).await;
            if let Some(refusal) = look(&self.scratch).await?.refusal(0) {
                return Err(no_room(&refusal));
            }
        }
    }

    /// Fails unless an output of `size` bytes fits on the store's disk, where that is another one.
    pub(super) async fn check_store(&self, size: u64) -> Result<(), Failure> {
        let Some(store) = &self.store else { return Ok(()) };
        look(store).await?.refusal(size).map_or(Ok(()), |refusal| Err(no_room(&refusal)))
    }
}

impl TakenRoom<'_> {
    /// Remembers what an output needs that did not fit: `written` bytes were `progress` of it, from 0 to 1.
    pub(super) fn learn(&self, written: u64, progress: f32) {
        // The beginning says little about the whole.
        let parts = if progress < 0.05 { 2.0 } else { 1.0 / f64::from(progress) };
        let whole = written as f64 * parts;
        let mut state = self.room.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.learned.len() >= MAX_LEARNED {
            state.learned.clear();
        }
        let needed = state.learned.entry(self.job).or_default();
        // A little more than was written, even if the progress says that it was nearly all.
        *needed = (*needed).max(whole as u64).max(written + written / 10);
    }

    /// Forgets the need of a job that is done.
    pub(super) fn forget(&self) {
        self.room.state.lock().unwrap_or_else(PoisonError::into_inner).learned.remove(&self.job);
    }
}

impl Drop for TakenRoom<'_> {
    fn drop(&mut self) {
        self.room.state.lock().unwrap_or_else(PoisonError::into_inner).taken.remove(&self.job);
    }
}

/// The failure of a job that waits for room.
pub(super) fn no_room(reason: &NoRoom) -> Failure {
    waits(format!("waits for room: {reason}"))
}

/// The failure of a job that waits for something that somebody has to put right.
pub(super) fn waits(error: String) -> Failure {
    Failure { error, retry: Retry::Uncounted }
}

async fn look(disk: &Disk) -> Result<Room, Failure> {
    let disk = disk.clone();
    let looked =
        spawn_blocking(move || disk.room()).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    looked.map_err(|error| super::io_failure("look at the scratch folder", &error))
}

fn same_disk(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev());
    matches!((device(one), device(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use nebula_storage::Reserve;

    use super::*;

    fn work_room(scratch: &Path, reserve: Reserve, store: Option<Disk>) -> WorkRoom {
        WorkRoom::new(Disk::new(scratch, reserve), store)
    }

    #[tokio::test]
    async fn a_job_without_room_waits_and_what_it_learned_counts_at_the_next_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let room = work_room(folder.path(), Reserve::Bytes(0), None);
        let taken = room.take(1, 0, 1000).await.unwrap();
        assert!(taken.output_limit > 1000);
        taken.learn(1 << 60, 0.5);
        drop(taken);
        let failure = room.take(1, 0, 1000).await.err().unwrap();
        assert!(failure.retry == Retry::Uncounted && failure.error.contains("waits for room"), "{failure:?}");
        // Other jobs are not concerned, and running ones leave the rest to them.
        let second = room.take(2, 0, 1000).await.unwrap();
        let third = room.take(3, 0, 1000).await.unwrap();
        assert!(third.output_limit < second.output_limit);
        second.forget();
        let none = work_room(folder.path(), Reserve::Bytes(u64::MAX), None);
        assert_eq!(none.take(1, 0, 0).await.err().unwrap().retry, Retry::Uncounted);
        assert_eq!(none.watch().await.unwrap_err().retry, Retry::Uncounted, "a running job ends");
    }

    #[tokio::test]
    async fn the_disk_of_the_store_counts_where_it_is_another_one() {
        let (scratch, store) = (tempfile::tempdir_in("/dev/shm").unwrap(), tempfile::tempdir().unwrap());
        let full = Disk::new(store.path(), Reserve::Bytes(u64::MAX));
        let room = work_room(scratch.path(), Reserve::Bytes(0), Some(full.clone()));
        if same_disk(scratch.path(), store.path()) {
            return;
        }
        room.take(1, 0, 1000).await.unwrap();
        assert_eq!(room.check_store(1000).await.unwrap_err().retry, Retry::Uncounted);
        let same = work_room(store.path(), Reserve::Bytes(0), Some(full));
        same.check_store(1000).await.unwrap();
    }
}
