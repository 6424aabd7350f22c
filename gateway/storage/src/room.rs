//! Room on a disk, and the reserve that uploads and renditions leave free.
//!
//! PostgreSQL stops, and may not start again, when it cannot write its log. Where it shares a disk with the
//! files, these must therefore never fill it. On a disk of their own the reserve keeps room for deleting,
//! renaming and housekeeping.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{StatVfsMountFlags, statvfs};

const GIB: u64 = 1 << 30;
/// The default reserve: at least 1 GiB or a fiftieth, at most 10 GiB and a fifth.
const DEFAULT_SHARE: u64 = 50;
const DEFAULT_MAX: u64 = 10 * GIB;
const DEFAULT_MAX_SHARE: u64 = 5;
/// Inodes that stay free: a hundredth, at most so many.
const INODE_SHARE: u64 = 100;
const MAX_INODES: u64 = 1000;

/// How much of a disk stays free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reserve {
    /// 1 GiB or 2 % of the disk, whichever is more, but at most 10 GiB and a fifth of it.
    #[default]
    Default,
    /// So many bytes.
    Bytes(u64),
    /// A share of the disk in percent.
    Percent(u8),
}

/// The text is neither a number of bytes nor a percentage.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "{0:?} is not a size: write bytes, such as 2000000000, 2GiB or 500M, or a share of the disk, such as 5%"
)]
pub struct ReserveError(String);

impl Reserve {
    /// The bytes of a disk of `size` bytes that stay free.
    pub fn bytes(self, size: u64) -> u64 {
        match self {
            Self::Default => (size / DEFAULT_SHARE).clamp(GIB, DEFAULT_MAX).min(size / DEFAULT_MAX_SHARE),
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => size / 100 * u64::from(percent),
        }
    }
}

impl FromStr for Reserve {
    type Err = ReserveError;

    fn from_str(text: &str) -> Result<Self, ReserveError> {
        let refused = || ReserveError(text.chars().take(40).collect());
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.trim().parse().map_err(|_| refused())?;
            return if percent < 100 { Ok(Self::Percent(percent)) } else { Err(refused()) };
        }
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let shift =
            match text[digits.len()..].to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
                "" => 0,
                "k" => 10,
                "m" => 20,
                "g" => 30,
                "t" => 40,
                _ => return Err(refused()),
            };
        let number: u64 = digits.trim().parse().map_err(|_| refused())?;
        number.checked_mul(1 << shift).map(Self::Bytes).ok_or_else(refused)
    }
}

/// The disk that a folder is on.
#[derive(Clone, Debug)]
pub struct Disk {
    folder: PathBuf,
    reserve: Reserve,
}

impl Disk {
    /// The disk of `folder`, which must exist when it is looked at.
    pub fn new(folder: impl Into<PathBuf>, reserve: Reserve) -> Self {
        Self { folder: folder.into(), reserve }
    }

    /// How much of the disk stays free.
    pub fn reserve(&self) -> Reserve {
        self.reserve
    }

    /// The folder by which the disk is found.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Looks at the disk. Waits for it, which takes long on a network file system that does not answer.
    ///
    /// # Errors
    /// The folder does not exist or cannot be reached.
    pub fn room(&self) -> io::Result<Room> {
        let found = statvfs(&self.folder)?;
        let size = found.f_blocks.saturating_mul(found.f_frsize);
        Ok(Room {
            size,
            free: found.f_bavail.saturating_mul(found.f_frsize),
            reserve: self.reserve.bytes(size),
            // Some file systems make inodes as they need them, and say that they have none.
            inodes: (found.f_files > 0).then_some((found.f_files, found.f_favail)),
            read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// There is room.
    Ample,
    /// Less than the reserve once more is left above the reserve.
    Low,
    /// Only the reserve is left, or nothing can be written: no upload is taken.
    Full,
}

/// Room on a disk at one moment, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Of the whole disk.
    pub size: u64,
    /// That this user could write.
    pub free: u64,
    /// That uploads and renditions leave free.
    pub reserve: u64,
    /// All inodes and the free ones, where their number is limited.
    pub inodes: Option<(u64, u64)>,
    /// Mounted read-only.
    pub read_only: bool,
}

impl Room {
    /// Bytes for uploads and renditions.
    pub fn left(&self) -> u64 {
        if self.read_only || self.lacks_inodes() { 0 } else { self.free.saturating_sub(self.reserve) }
    }

    /// How full the disk is.
    pub fn level(&self) -> Level {
        match self.left() {
            0 => Level::Full,
            left if left < self.reserve => Level::Low,
            _ => Level::Ample,
        }
    }

    /// Why `bytes` more cannot be written; `None` if they can.
    pub fn refusal(&self, bytes: u64) -> Option<NoRoom> {
        (self.left() < bytes.max(1)).then_some(NoRoom { room: *self, bytes })
    }

    fn lacks_inodes(&self) -> bool {
        self.inodes.is_some_and(|(all, free)| free <= (all / INODE_SHARE).min(MAX_INODES))
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.read_only {
            return f.write_str("the disk is mounted read-only");
        }
        if let Some((all, free)) = self.inodes.filter(|_| self.lacks_inodes()) {
            return write!(f, "{free} of {all} inodes are free, too few for new files");
        }
        let (free, size, reserve) = (Bytes(self.free), Bytes(self.size), Bytes(self.reserve));
        write!(f, "{free} of {size} are free, of which {reserve} are kept in reserve")
    }
}

/// Bytes that do not fit on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{room}", needed(*.bytes))]
pub struct NoRoom {
    /// The room that was found.
    pub room: Room,
    /// Bytes needed.
    pub bytes: u64,
}

/// The need, if it is known.
fn needed(bytes: u64) -> String {
    if bytes > 1 { format!("{} are needed; ", Bytes(bytes)) } else { String::new() }
}

/// A number of bytes for people; exact below 10 kB.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut units) = (self.0 as f64, ["bytes", "kB", "MB", "GB", "TB"].into_iter());
        let mut unit = units.next().unwrap_or_default();
        while number >= 10_000.0
            && let Some(next) = units.next()
        {
            (number, unit) = (number / 1000.0, next);
        }
        write!(f, "{number:.0} {unit}")
    }
}

/// Whether an error of the file system means that there is no room, which passes when somebody makes some:
/// full, out of inodes, over a quota, or mounted read-only after a fault of the disk.
pub fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(size: u64, free: u64) -> Room {
        Room { size, free, reserve: Reserve::Default.bytes(size), inodes: None, read_only: false }
    }

    #[test]
    fn the_default_reserve_is_a_gibibyte_or_a_fiftieth_and_at_most_ten_and_a_fifth() {
        let reserve = |size| Reserve::Default.bytes(size);
        assert_eq!(reserve(600_000_000), 120_000_000, "a small disk keeps a fifth");
        assert_eq!(reserve(20 * GIB), GIB);
        assert_eq!(reserve(300 * GIB), 6 * GIB);
        assert_eq!(reserve(4000 * GIB), 10 * GIB);
        assert_eq!(reserve(0), 0);
    }

    #[test]
    fn a_reserve_is_bytes_or_a_percentage() {
        for (text, reserve) in [
            ("0", Reserve::Bytes(0)),
            ("5%", Reserve::Percent(5)),
            ("2GiB", Reserve::Bytes(2 * GIB)),
            ("500m", Reserve::Bytes(500 << 20)),
            ("16 kB", Reserve::Bytes(16 << 10)),
            ("1t", Reserve::Bytes(1 << 40)),
        ] {
            assert_eq!(text.parse::<Reserve>().unwrap(), reserve, "{text}");
        }
        for text in ["", "%", "-1", "100%", "1.5G", "GiB", "5 apples", "99999999999T", "0x10"] {
            let error = text.parse::<Reserve>().unwrap_err().to_string();
            assert!(error.contains("2GiB") && error.contains("5%"), "{text}: {error}");
        }
        assert_eq!(Reserve::Percent(5).bytes(1000), 50);
    }

    #[test]
    fn room_is_what_is_above_the_reserve() {
        assert_eq!(room(600_000_000, 600_000_000).level(), Level::Ample);
        assert_eq!(room(600_000_000, 239_000_000).level(), Level::Low);
        assert_eq!(room(600_000_000, 120_000_000).level(), Level::Full);
        assert_eq!(room(600_000_000, 130_000_000).left(), 10_000_000);
        assert_eq!(room(600_000_000, 130_000_000).refusal(10_000_000), None);
        let refusal = room(600_000_000, 130_000_000).refusal(10_000_001).unwrap().to_string();
        assert_eq!(
            refusal,
            "10 MB are needed; 130 MB of 600 MB are free, of which 120 MB are kept in reserve"
        );
        assert!(
            room(600_000_000, 120_000_000).refusal(0).is_some(),
            "a file of unknown size needs some room"
        );
    }

    #[test]
    fn without_inodes_or_read_only_there_is_no_room() {
        let room = room(600_000_000, 600_000_000);
        let short = Room { inodes: Some((10_000, 100)), ..room };
        assert!(short.level() == Level::Full && short.to_string().contains("inodes"), "{short}");
        assert_eq!(Room { inodes: Some((10_000, 101)), ..room }.level(), Level::Ample);
        let read_only = Room { read_only: true, ..room };
        assert!(read_only.level() == Level::Full && read_only.to_string().contains("read-only"));
    }
}
