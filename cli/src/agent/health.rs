//! Health of the machine, by which jobs are distributed to nodes. If one value cannot be read, none is
//! reported.

use std::fs;
use std::path::Path;

use nebula_api::agent::Health;
use rustix::fs::statvfs;

/// Load, memory, and the file system of this folder.
pub(super) fn of(folder: &Path) -> Option<Health> {
    let read = |name: &str| fs::read_to_string(Path::new("/proc").join(name)).ok();
    let (memory_bytes, memory_available_bytes) = memory(&read("meminfo")?)?;
    let disk = statvfs(folder).ok()?;
    let processors = std::thread::available_parallelism().ok()?.get();
    Some(Health {
        load: load(&read("loadavg")?)?,
        processors: processors.try_into().ok()?,
        memory_bytes,
        memory_available_bytes,
        disk_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
        // Excludes the blocks reserved for root.
        disk_free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
    })
}

/// Average over the last minute.
fn load(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Bytes of total memory, and of memory that a new program can get.
fn memory(text: &str) -> Option<(u64, u64)> {
    let bytes = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((bytes("MemTotal")?, bytes("MemAvailable")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_parsed_from_proc() {
        assert_eq!(load("0.42 0.30 0.20 1/345 6789\n"), Some(0.42));
        assert_eq!(load(""), None);
        let text = "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    4096 kB\nSwapTotal: 0 kB\n";
        assert_eq!(memory(text), Some((16 << 20, 4 << 20)));
        assert_eq!(memory("MemTotal: 16384 kB\n"), None);
        let here = of(Path::new("/")).unwrap();
        assert!(here.memory_bytes > here.memory_available_bytes && here.disk_bytes >= here.disk_free_bytes);
        assert!(here.processors > 0 && here.load >= 0.0);
    }
}
