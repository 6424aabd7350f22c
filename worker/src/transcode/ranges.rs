//! Serves ranges of an upload in a bucket to the media process, so that a job reads its share of the upload and not all
//! of it. The parent has the network and the credentials; the child has one end of a socket.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use futures::StreamExt;
use nebula_storage::{ByteStream, Store, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::media::{MAX_ANSWER, RangeRequest};
use crate::queue::Failure;

/// Bytes of the first read at a place. Each read that follows on asks for twice as many, because who reads on is likely
/// to go on; one that jumped, as to an index at the end, costs no more than this.
const FIRST_WINDOW: u64 = 512 * 1024;
const MAX_WINDOW: u64 = 16 * 1024 * 1024;
/// Bytes that are read ahead while the child works on what it has.
const AHEAD: u64 = 4 * 1024 * 1024;
/// Bytes that are kept, which bounds the memory of a job: what was read ahead, and what a demuxer returns to.
const CACHE: u64 = 16 * 1024 * 1024;
/// A gap that is read over instead of being asked for anew.
const SMALL_GAP: u64 = 256 * 1024;
/// How long a store may fail before its job waits for it. Shorter than the silence that kills a child.
const STORE_TIMEOUT: Duration = Duration::from_secs(90);

/// Delays between tries; jitter adds up to the same again.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(5))
    .with_jitter()
    .without_max_times();

/// An upload that is served.
pub(super) struct Ranges<'a> {
    store: &'a Store,
    key: &'a str,
    size: u64,
    store_timeout: Duration,
    cache: Cache,
    /// The read that is under way.
    reading: Option<Reading>,
    /// Bytes of the next read that follows on.
    window: u64,
}

struct Reading {
    stream: ByteStream,
    at: u64,
    end: u64,
}

impl<'a> Ranges<'a> {
    pub(super) fn new(store: &'a Store, key: &'a str, size: u64) -> Self {
        let cache = Cache::default();
        Self { store, key, size, store_timeout: STORE_TIMEOUT, cache, reading: None, window: FIRST_WINDOW }
    }

    /// Answers the child until it closes its end.
    pub(super) async fn serve(mut self, socket: &mut UnixStream) -> Result<(), Failure> {
        loop {
            let mut question = [0; RangeRequest::SIZE];
            tokio::select! {
                biased;
                ready = socket.readable() => ready.map_err(|error| lost(&error))?,
                // While the child works, the store is read ahead. A fault counts only where the bytes are needed.
                ahead = self.read_ahead(), if self.may_read_ahead() => {
                    if ahead.is_err() {
                        self.reading = None;
                    }
                    continue;
                }
            }
            match socket.read_exact(&mut question).await {
                Ok(_) => {}
                // The child has ended, or never read.
                Err(_) => return Ok(()),
            }
            let RangeRequest { offset, length } = RangeRequest::from_bytes(question);
            let answer = self.answer(offset, length.min(MAX_ANSWER)).await?;
            let mut message = Vec::with_capacity(answer.len() + 4);
            message.extend((answer.len() as u32).to_le_bytes());
            message.extend(&answer);
            if socket.write_all(&message).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Some bytes at `offset`, at most `length`; none at the end of the object.
    async fn answer(&mut self, offset: u64, length: u64) -> Result<Bytes, Failure> {
        if offset >= self.size || length == 0 {
            return Ok(Bytes::new());
        }
        let deadline = Instant::now() + self.store_timeout;
        let mut delays: Option<ExponentialBackoff> = None;
        loop {
            if let Some(found) = self.cache.get(offset, length) {
                return Ok(found);
            }
            self.aim(offset);
            let error = match timeout_at(deadline, self.read_ahead()).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => return Err(no_answer(self.key)),
            };
            self.reading = None;
            let delay = delays.get_or_insert_with(|| BACKOFF.build()).next().unwrap_or_default();
            if !error.is_outage() || Instant::now() + delay >= deadline {
                return Err(error.into());
            }
            tracing::debug!(key = self.key, offset, "reading the upload again: {error}");
            sleep(delay).await;
        }
    }

    /// Makes the next bytes that are read those at `offset`.
    fn aim(&mut self, offset: u64) {
        let follows = self.reading.as_ref().map(|reading| reading.at..reading.end);
        match follows {
            Some(Range { start, end }) if offset < end && (start..=start + SMALL_GAP).contains(&offset) => {
                return;
            }
            Some(Range { end, .. }) if end == offset => self.window = (self.window * 2).min(MAX_WINDOW),
            _ => self.window = FIRST_WINDOW,
        }
        self.begin(offset);
    }

    fn begin(&mut self, at: u64) {
        let end = self.size.min(at + self.window);
        self.reading = Some(Reading { stream: self.store.read(self.key, at..end), at, end });
    }

    /// Whether fewer bytes lie ahead of the child than it may find there.
    fn may_read_ahead(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| {
            reading.at < reading.end && reading.at < self.cache.last_asked.saturating_add(AHEAD)
        })
    }

    /// Keeps the next bytes of what is being read.
    async fn read_ahead(&mut self) -> Result<(), StoreError> {
        let Some(reading) = &mut self.reading else { return Ok(()) };
        match reading.stream.next().await.transpose()? {
            Some(bytes) => {
                let at = reading.at;
                reading.at += bytes.len() as u64;
                self.cache.keep(at, bytes);
                Ok(())
            }
            None if reading.at < reading.end => {
                Err(StoreError::Truncated { key: self.key.to_owned(), missing: reading.end - reading.at })
            }
            None => Ok(()),
        }
    }
}

/// The pieces that were read last, in order of their arrival.
#[derive(Default)]
struct Cache {
    pieces: VecDeque<(u64, Bytes)>,
    size: u64,
    /// End of the last answer.
    last_asked: u64,
}

impl Cache {
    fn keep(&mut self, at: u64, bytes: Bytes) {
        self.size += bytes.len() as u64;
        self.pieces.push_back((at, bytes));
        while self.size > CACHE {
            let Some((_, oldest)) = self.pieces.pop_front() else { break };
            self.size -= oldest.len() as u64;
        }
    }

    /// As many bytes at `offset` as lie together, at most `length`.
    fn get(&mut self, offset: u64, length: u64) -> Option<Bytes> {
        // The newest first: a demuxer mostly reads on.
        let (at, bytes) =
            self.pieces.iter().rev().find(|(at, bytes)| (*at..*at + bytes.len() as u64).contains(&offset))?;
        let from = (offset - at) as usize;
        let found = bytes.slice(from..bytes.len().min(from + length as usize));
        self.last_asked = offset + found.len() as u64;
        Some(found)
    }
}

fn lost(error: &io::Error) -> Failure {
    Failure::transient(format!("the way to the media process is lost: {error}"))
}

fn no_answer(key: &str) -> Failure {
    super::room::waits(format!("waits for the storage: object {key:?} cannot be read, it does not answer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Retry;

    /// A store that is a folder with one object, of which the bytes follow from their place.
    fn store(folder: &std::path::Path, size: u32) -> (Store, Vec<u8>) {
        let object: Vec<u8> = (0..size).map(|n| (n / 5) as u8 ^ (n >> 13) as u8).collect();
        std::fs::write(folder.join("film"), &object).unwrap();
        (Store::open(&format!("file://{}", folder.display())).unwrap(), object)
    }

    async fn ask(socket: &mut UnixStream, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        socket.write_all(&RangeRequest { offset, length }.to_bytes()).await?;
        let mut answer = vec![0; socket.read_u32_le().await? as usize];
        socket.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn any_place_of_the_upload_can_be_read_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let (store, object) = store(folder.path(), 6_000_000);
        let (mut parent, mut child) = UnixStream::pair().unwrap();
        let ranges = Ranges::new(&store, "film", object.len() as u64);
        let questions = async move {
            // On, over a small gap, back into what is kept, to the end, far back.
            let jumps = [0_u64, 200_000, 300_000, 1_500_000, 1_400_000, 5_999_990, 0, 3_000_000];
            for jump in jumps {
                let mut at = jump;
                for _ in 0..5 {
                    let answer = ask(&mut child, at, 150_000).await.unwrap();
                    assert!(answer == object[at as usize..][..answer.len()], "{at}");
                    at += answer.len() as u64;
                    assert!(!answer.is_empty() || at == 6_000_000);
                }
            }
            assert!(ask(&mut child, u64::MAX, 1).await.unwrap().is_empty());
        };
        let (served, ()) = tokio::join!(ranges.serve(&mut parent), questions);
        served.unwrap();
    }

    #[tokio::test]
    async fn an_upload_that_is_gone_or_too_short_fails_its_job() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = store(folder.path(), 1_000);
        for (key, retry) in [("film", Retry::Counted), ("none", Retry::Never)] {
            let (mut parent, mut child) = UnixStream::pair().unwrap();
            let ranges = Ranges::new(&store, key, 2_000);
            let (served, answer) = tokio::join!(ranges.serve(&mut parent), async move {
                let asked = tokio::time::timeout(Duration::from_millis(200), ask(&mut child, 1_000, 10));
                asked.await
            });
            assert_eq!(served.unwrap_err().retry, retry, "{key}");
            assert!(answer.is_err(), "the child gets no answer that it could take for the end");
        }
    }

    #[tokio::test]
    async fn the_job_of_an_upload_that_cannot_be_read_for_long_waits_for_the_storage() {
        // Nothing listens there.
        let store = Store::open("s3://films?endpoint=http://127.0.0.1:1&region=here").unwrap();
        let mut ranges = Ranges::new(&store, "film", 2_000);
        ranges.store_timeout = Duration::from_millis(300);
        let (mut parent, mut child) = UnixStream::pair().unwrap();
        child.write_all(&RangeRequest { offset: 0, length: 10 }.to_bytes()).await.unwrap();
        let failure = ranges.serve(&mut parent).await.unwrap_err();
        assert!(failure.retry == Retry::Uncounted && failure.error.contains("waits for the storage"));
    }
}
