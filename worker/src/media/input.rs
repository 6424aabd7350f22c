//! The upload as a media process reads it: a file, or ranges of an object that the parent serves over a socket, because
//! the child has no network and no credentials.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::MediaError;

/// Bytes that one answer of the parent holds at most.
pub(crate) const MAX_ANSWER: u64 = 256 * 1024;

/// A question of the child: where, and how many bytes at most. The answer is a length and so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RangeRequest {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl RangeRequest {
    pub(crate) const SIZE: usize = 16;

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [offset, length] =
            [0, 8].map(|at| bytes[at..at + 8].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)));
        Self { offset, length }
    }
}

/// The bytes to read; may be opened several times.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file.
    File(PathBuf),
    /// An object of this size, of which the parent serves ranges.
    Served {
        /// Bytes of the object.
        size: u64,
        /// The way to the parent; readers take turns.
        socket: Arc<Mutex<UnixStream>>,
    },
}

/// Both kinds of input, open.
pub(super) trait Bytes: Read + Seek + Send {}
impl<T: Read + Seek + Send> Bytes for T {}

impl Input {
    /// An object of `size` bytes behind a socket.
    pub fn served(size: u64, socket: OwnedFd) -> Self {
        Self::Served { size, socket: Arc::new(Mutex::new(socket.into())) }
    }

    /// Opens the bytes at their start, and tells how many there are.
    pub(super) fn open(&self) -> Result<(Box<dyn Bytes>, u64), MediaError> {
        let failed = |error| MediaError::transient(format!("cannot read the file: {error}"));
        match self {
            Self::File(path) => {
                let file = File::open(path).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                Ok((Box::new(file), size))
            }
            Self::Served { size, socket } => {
                Ok((Box::new(ServedBytes { socket: socket.clone(), size: *size, at: 0 }), *size))
            }
        }
    }

    pub(super) fn size(&self) -> Result<u64, MediaError> {
        self.open().map(|(_, size)| size)
    }
}

/// A place in an object that the parent serves.
pub(super) struct ServedBytes {
    socket: Arc<Mutex<UnixStream>>,
    size: u64,
    at: u64,
}

impl Read for ServedBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.size.saturating_sub(self.at).min(buffer.len() as u64).min(MAX_ANSWER);
        if length == 0 {
            return Ok(0);
        }
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket.write_all(&RangeRequest { offset: self.at, length }.to_bytes())?;
        let mut header = [0; 4];
        socket.read_exact(&mut header)?;
        let answered = u32::from_le_bytes(header) as usize;
        let Some(answer) = buffer.get_mut(..answered) else {
            return Err(io::Error::other("the parent sent more than it was asked for"));
        };
        socket.read_exact(answer)?;
        self.at += answered as u64;
        Ok(answered)
    }
}

impl Seek for ServedBytes {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(distance) => self.size.checked_add_signed(distance),
            SeekFrom::Current(distance) => self.at.checked_add_signed(distance),
        };
        self.at = place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_the_parent_serves_read_like_a_file() {
        let object: Vec<u8> = (0..300_000_u32).map(|n| (n / 3) as u8).collect();
        let (child, mut parent) = UnixStream::pair().unwrap();
        let served = object.clone();
        let serving = std::thread::spawn(move || {
            let mut bytes = [0; RangeRequest::SIZE];
            while parent.read_exact(&mut bytes).is_ok() {
                let RangeRequest { offset, length } = RangeRequest::from_bytes(bytes);
                // Fewer than asked for, as at the end of what the parent holds.
                let answer = &served[offset as usize..][..(length as usize).min(100_000)];
                parent.write_all(&(answer.len() as u32).to_le_bytes()).unwrap();
                parent.write_all(answer).unwrap();
            }
        });
        let input = Input::served(object.len() as u64, child.into());
        let (mut one, size) = input.open().unwrap();
        let (mut other, _) = input.open().unwrap();
        assert_eq!(size, 300_000);
        let mut all = Vec::new();
        one.read_to_end(&mut all).unwrap();
        assert!(all == object);
        assert_eq!(other.seek(SeekFrom::End(-10)).unwrap(), 299_990);
        let mut end = Vec::new();
        other.read_to_end(&mut end).unwrap();
        assert_eq!(end, object[299_990..]);
        assert_eq!(other.seek(SeekFrom::Start(400_000)).unwrap(), 400_000);
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 0, "behind the end there is nothing");
        assert!(other.seek(SeekFrom::Current(-500_000)).is_err());
        drop((one, other, input));
        serving.join().unwrap();
    }
}
