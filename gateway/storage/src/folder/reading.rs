//! Reading a range of a file without memory that waits for a slow receiver.
//!
//! A chunk is read when it is asked for. What the page cache has is copied at once, without a switch to another
//! thread; the rest is read on the blocking pool, while the kernel reads ahead.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, stream};
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::blocking;
use crate::{ByteStream, StoreError};

/// Bytes of a chunk. A connection whose client pauses holds a copy of one, so a thousand of them hold 64 MiB.
const CHUNK: usize = 64 * 1024;
/// Bytes of a chunk that comes from the disk, where larger reads are quicker.
const DISK_CHUNK: usize = 256 * 1024;
/// Buffers that are kept for the next chunks.
const MAX_SPARE: usize = 64;

/// Buffers of chunks that were sent. New memory would have to be zeroed, which costs a third of reading into it.
static SPARE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// A chunk in a buffer that is used again.
struct Chunk {
    buffer: Box<[u8]>,
    length: usize,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < MAX_SPARE {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}

fn buffer() -> Box<[u8]> {
    let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    spare.unwrap_or_else(|| vec![0; CHUNK].into())
}

/// A range on its way.
struct Reading {
    key: String,
    path: PathBuf,
    /// None until the first chunk is asked for.
    file: Option<Arc<File>>,
    rest: Range<u64>,
    /// Whether the file system can say that a read would have to wait for the disk.
    knows_cached: bool,
}

/// Streams the bytes `range` of the file at `path`; ends after the first error.
pub(super) fn read(path: PathBuf, key: String, range: Range<u64>) -> ByteStream {
    let reading = Reading { key, path, file: None, rest: range, knows_cached: true };
    stream::unfold(Some(reading), |reading| async {
        let mut reading = reading?;
        match reading.next().await.transpose()? {
            Ok(chunk) => Some((Ok(chunk), Some(reading))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Reading {
    /// The next chunk; `None` at the end of the range.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let file = self.open().await?;
        if self.rest.is_empty() {
            return Ok(None);
        }
        let wanted = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
        let chunk = match self.read_cached(&file, wanted.min(CHUNK)) {
            Some(chunk) => chunk,
            None => {
                let (at, wanted) = (self.rest.start, wanted.min(DISK_CHUNK));
                blocking("read", &self.key, move || read_from_disk(&file, at, wanted)).await?
            }
        };
        if chunk.is_empty() {
            let missing = self.rest.end - self.rest.start;
            return Err(StoreError::Truncated { key: self.key.clone(), missing });
        }
        self.rest.start += chunk.len() as u64;
        Ok(Some(chunk))
    }

    async fn open(&mut self) -> Result<Arc<File>, StoreError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let path = self.path.clone();
        let file = Arc::new(blocking("read", &self.key, move || File::open(path)).await?);
        // Twice the usual read-ahead. A file system without it reads as it can.
        let _ = fadvise(&file, 0, None, Advice::Sequential);
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// As many of the next bytes as the page cache has; `None` when it has none. At the end of the file it is empty.
    fn read_cached(&mut self, file: &File, wanted: usize) -> Option<Bytes> {
        if !self.knows_cached {
            return None;
        }
        let mut buffer = buffer();
        let into = &mut [IoSliceMut::new(&mut buffer[..wanted])];
        match preadv2(file, into, self.rest.start, ReadWriteFlags::NOWAIT) {
            Ok(length) => Some(Bytes::from_owner(Chunk { buffer, length })),
            Err(error) => {
                self.knows_cached = error == Errno::AGAIN || error == Errno::INTR;
                drop(Chunk { buffer, length: 0 });
                None
            }
        }
    }
}

/// Up to `wanted` bytes at `at`; none at the end of the file.
fn read_from_disk(file: &File, at: u64, wanted: usize) -> io::Result<Bytes> {
    let mut chunk = vec![0; wanted];
    let length = loop {
        match file.read_at(&mut chunk, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    chunk.truncate(length);
    Ok(chunk.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn reading(file: &tempfile::NamedTempFile, rest: Range<u64>) -> Reading {
        let path = file.path().to_owned();
        Reading { key: "key".into(), path, file: None, rest, knows_cached: true }
    }

    #[tokio::test]
    async fn a_chunk_is_the_same_from_the_page_cache_and_from_the_disk() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n / 7) as u8).collect();
        file.write_all(&bytes).unwrap();
        for knows_cached in [true, false] {
            let mut reading = Reading { knows_cached, ..reading(&file, 1000..290_000) };
            let mut all = Vec::new();
            while let Some(chunk) = reading.next().await.unwrap() {
                all.extend(chunk);
            }
            assert!(all == bytes[1000..290_000], "{knows_cached}");
        }
    }

    #[tokio::test]
    async fn nothing_is_read_before_it_is_asked_for() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[1; 3 * CHUNK]).unwrap();
        let mut reading = reading(&file, 0..3 * CHUNK as u64);
        let first = reading.next().await.unwrap().unwrap();
        file.as_file().write_all_at(&[2; CHUNK], first.len() as u64).unwrap();
        assert_eq!(reading.next().await.unwrap().unwrap()[0], 2);
    }
}
