//! The bytes of objects, compared with their digests: those that were looked at longest ago first, no faster than a
//! rate, so that films being played and made hardly notice.

use std::time::{Duration, Instant};

use futures::StreamExt;
use nebula_storage::Store;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tokio_postgres::types::Type;

use super::record::{Fault, Found, Unreadable};
use crate::queue::{Context, Failure, Job};

/// Objects that are asked for at once, so that those that were read are on record soon.
const BATCH: i32 = 100;

/// How much is read.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Bytes a second.
    pub(super) rate: u64,
    /// Age at which bytes are compared again.
    pub(super) days: u32,
    /// No further object is read after this time.
    pub(super) time: Duration,
}

/// Objects that were read.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

struct Expected {
    key: String,
    size: u64,
    sha256: Vec<u8>,
}

/// Reads objects whose turn it is.
pub(super) async fn compare(
    store: &Store,
    limits: Limits,
    job: &Job,
    context: &Context,
) -> Result<Compared, Failure> {
    let began = Instant::now();
    let mut compared = Compared::default();
    let mut pace = Pace { began, rate: limits.rate, bytes: 0 };
    loop {
        let due = due(limits.days, job, context).await?;
        if due.is_empty() {
            return Ok(compared);
        }
        let mut found = Found::default();
        for object in due {
            if began.elapsed() >= limits.time {
                found.record(context).await?;
                return Ok(compared);
            }
            let detail = json!({"stage": "compare", "objects": compared.objects, "bytes": compared.bytes});
            context.report(0.2, detail);
            match digest(store, &object, &mut pace).await {
                Ok(digest) if digest == object.sha256 => found.sound.push(object.key),
                Ok(_) => found.faults.push(object.fault("changed")),
                Err(Unreadable::Fault(fault)) => found.faults.push(object.fault(fault)),
                Err(Unreadable::Store(failure)) => return Err(failure),
            }
            compared.objects += 1;
            compared.bytes = pace.bytes;
        }
        found.record(context).await?;
    }
}

impl Expected {
    fn fault(self, fault: &'static str) -> Fault {
        Fault { key: self.key, fault, size: self.size }
    }
}

async fn due(days: u32, job: &Job, context: &Context) -> Result<Vec<Expected>, Failure> {
    let sql = "SELECT storage_key, size, sha256
                 FROM nebula.objects_to_check($1, $2, make_interval(days => $3), $4)";
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let parameters = [
        (&job.id as _, Type::INT8),
        (&job.attempt as _, Type::INT4),
        (&days as _, Type::INT4),
        (&BATCH as _, Type::INT4),
    ];
    let rows = context.read(sql, &parameters).await?;
    let read = |row: &tokio_postgres::Row| {
        let size = row.try_get::<_, i64>(1)?.unsigned_abs();
        Ok(Expected { key: row.try_get(0)?, size, sha256: row.try_get(2)? })
    };
    let due: Result<_, tokio_postgres::Error> = rows.iter().map(read).collect();
    due.map_err(|error| Failure::transient(format!("cannot read the objects: {error}")))
}

async fn digest(store: &Store, object: &Expected, pace: &mut Pace) -> Result<Vec<u8>, Unreadable> {
    let mut hasher = Sha256::new();
    let mut bytes = store.read(&object.key, 0..object.size);
    while let Some(bytes) = bytes.next().await {
        let bytes = bytes?;
        hasher.update(&bytes);
        pace.keep(bytes.len() as u64).await;
    }
    Ok(hasher.finalize().to_vec())
}

/// Slows reading down to a rate.
struct Pace {
    began: Instant,
    rate: u64,
    bytes: u64,
}

impl Pace {
    async fn keep(&mut self, bytes: u64) {
        self.bytes += bytes;
        let due = Duration::from_secs_f64(self.bytes as f64 / self.rate as f64);
        sleep(due.saturating_sub(self.began.elapsed())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_are_read_no_faster_than_the_rate_and_judged_by_their_digest() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
        std::fs::write(folder.path().join("a"), vec![7; 600_000]).unwrap();
        let mut pace = Pace { began: Instant::now(), rate: 3_000_000, bytes: 0 };
        let object = |key: &str, size| Expected { key: key.into(), size, sha256: Vec::new() };
        let digested = digest(&store, &object("a", 600_000), &mut pace).await;
        assert!(digested.is_ok_and(|digest| digest == Sha256::digest(vec![7; 600_000]).to_vec()));
        assert!(pace.began.elapsed() >= Duration::from_millis(200));
        for (key, size, fault) in [("b", 1, "missing"), ("a", 600_001, "changed")] {
            let unreadable = digest(&store, &object(key, size), &mut pace).await;
            assert!(matches!(unreadable, Err(Unreadable::Fault(found)) if found == fault), "{key}");
        }
    }
}
