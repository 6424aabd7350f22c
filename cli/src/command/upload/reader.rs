//! The bytes of a file on their way to the gateway, hashed as they are read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::try_unfold;
use openssl::sha::Sha256;
use reqwest::Body;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::pace::Pace;
use super::progress::Meter;
use super::source::Source;

/// Bytes per read, and reads that wait for the network.
const CHUNK_BYTES: usize = 512 * 1024;
const CHUNKS: usize = 4;

/// The checksum of the first bytes of a file.
#[derive(Clone)]
pub(super) struct Hashed {
    length: u64,
    sha256: Sha256,
}

impl Default for Hashed {
    fn default() -> Self {
        Self { length: 0, sha256: Sha256::new() }
    }
}

impl Hashed {
    fn add(&mut self, offset: u64, bytes: &[u8]) {
        // Bytes that are sent once more are in it already.
        let known = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        if let Some(new) = bytes.get(known..) {
            self.sha256.update(new);
            self.length += new.len() as u64;
        }
    }

    fn read_to(&mut self, file: &mut File, end: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.length))?;
        let mut buffer = vec![0; CHUNK_BYTES];
        while self.length < end {
            let most = usize::try_from(end - self.length).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            match file.read(&mut buffer[..most])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.add(self.length, &buffer[..count]),
            }
        }
        Ok(())
    }
}

/// A file that is being sent, and the checksum of what was read of it.
#[derive(Clone)]
pub(super) struct Reader {
    source: Source,
    pace: Arc<Pace>,
    hashed: Arc<Mutex<Hashed>>,
}

impl Reader {
    pub(super) fn new(source: &Source, pace: &Arc<Pace>) -> Self {
        Self { source: source.clone(), pace: Arc::clone(pace), hashed: Arc::default() }
    }

    /// Reads what earlier runs have sent, up to an offset; bytes from there on are hashed when they are sent.
    pub(super) async fn hash_to(&self, offset: u64) -> io::Result<()> {
        let reader = self.clone();
        let task = spawn_blocking(move || {
            let mut hashed = reader.hashed.lock().unwrap_or_else(PoisonError::into_inner);
            hashed.read_to(&mut File::open(&reader.source.path)?, offset)
        });
        task.await.map_err(io::Error::other)?
    }

    /// The checksum of the whole file, in hexadecimal.
    pub(super) async fn sha256(&self) -> io::Result<String> {
        self.hash_to(self.source.size).await?;
        Ok(hex::encode(self.hashed.lock().unwrap_or_else(PoisonError::into_inner).sha256.clone().finish()))
    }

    /// The bytes from an offset on. A file that became shorter breaks the request off.
    pub(super) fn body(&self, offset: u64, meter: &Arc<Meter>) -> Body {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        let (reader, meter) = (self.clone(), Arc::clone(meter));
        spawn_blocking(move || {
            if let Err(error) = reader.send(offset, &sender) {
                // A receiver that is gone needs no reason.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Body::wrap_stream(try_unfold((receiver, offset), move |(mut receiver, offset)| {
            let meter = Arc::clone(&meter);
            async move {
                let Some(chunk) = receiver.recv().await.transpose()? else { return Ok::<_, io::Error>(None) };
                let end = offset + chunk.len() as u64;
                meter.sent(end);
                Ok(Some((chunk, (receiver, end))))
            }
        }))
    }

    fn send(&self, mut offset: u64, sender: &mpsc::Sender<io::Result<Vec<u8>>>) -> io::Result<()> {
        let mut file = File::open(&self.source.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let most = self.pace.chunk(CHUNK_BYTES);
        while offset < self.source.size {
            let left = self.source.size - offset;
            let mut chunk = vec![0; usize::try_from(left).map_or(most, |left| left.min(most))];
            let count = file.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            chunk.truncate(count);
            self.hashed.lock().unwrap_or_else(PoisonError::into_inner).add(offset, &chunk);
            self.pace.wait(count);
            if sender.blocking_send(Ok(chunk)).is_err() {
                return Ok(());
            }
            offset += count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts_once_in_the_checksum_however_often_it_is_sent() {
        let mut hashed = Hashed::default();
        for (offset, bytes) in [(0, "abc"), (1, "bc"), (2, "cde"), (5, "f"), (0, "abcdef")] {
            hashed.add(offset, bytes.as_bytes());
        }
        assert_eq!(hashed.length, 6);
        assert_eq!(hashed.sha256.finish(), openssl::sha::sha256(b"abcdef"));
    }

    #[tokio::test]
    async fn what_was_sent_before_is_hashed_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, vec![7; 2 * CHUNK_BYTES + 5]).unwrap();
        let sources = super::super::source::Sources::collect(&[path], false);
        let reader = Reader::new(&sources.files[0], &Arc::new(Pace::new(None)));
        reader.hash_to(CHUNK_BYTES as u64 + 1).await.unwrap();
        let expected = hex::encode(openssl::sha::sha256(&vec![7; 2 * CHUNK_BYTES + 5]));
        assert_eq!(reader.sha256().await.unwrap(), expected);
        assert!(reader.hash_to(1 << 40).await.is_err());
    }
}
