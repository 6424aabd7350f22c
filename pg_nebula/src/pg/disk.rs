//! The disks that the server writes to. A server process works in the data folder, so that paths below it are
//! relative.

use pgrx::prelude::*;
use rustix::fs::statvfs;

/// The data folder, and the log, which may be a link to another disk.
const FOLDERS: [(&str, &str); 2] = [("data", "."), ("wal", "pg_wal")];

#[pg_extern(volatile, parallel_restricted)]
fn disk_room() -> TableIterator<
    'static,
    (name!(disk, String), name!(size, i64), name!(free, i64), name!(inodes, i64), name!(free_inodes, i64)),
> {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    TableIterator::new(FOLDERS.into_iter().filter_map(move |(disk, folder)| {
        // A disk that cannot be looked at is left out: the server itself says more about it.
        let found = statvfs(folder).ok()?;
        let bytes = |blocks: u64| count(blocks.saturating_mul(found.f_frsize));
        Some((
            disk.to_owned(),
            bytes(found.f_blocks),
            bytes(found.f_bavail),
            count(found.f_files),
            count(found.f_favail),
        ))
    }))
}
