//! Names and sizes of objects, without their bytes.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt};
use nebula_storage::{Store, StoreError};
use tokio_postgres::types::Type;

use super::record::{Fault, Found};
use crate::queue::{Context, Failure, Job};

/// Objects that the database is asked about, or tells of, at once.
const BATCH: usize = 1000;

/// Tells the database of all objects that are old enough to have a row, which records those that have none. Answers
/// how many there are.
pub(super) async fn find_untracked(
    store: &Store,
    grace: Duration,
    context: &Context,
) -> Result<u64, Failure> {
    let mut count = 0;
    let mut batches = store.list("files").try_chunks(BATCH).boxed();
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| error.1)?;
        count += batch.len() as u64;
        let now = SystemTime::now();
        let old = batch
            .into_iter()
            .filter(|object| now.duration_since(object.stored_at).unwrap_or_default() >= grace);
        let faults = old.map(|object| Fault { key: object.key, fault: "untracked", size: object.size });
        Found { faults: faults.collect(), sound: Vec::new() }.record(context).await?;
    }
    Ok(count)
}

/// Looks for all objects of the database in the storage. Answers how many there are.
pub(super) async fn find_missing(store: &Store, job: &Job, context: &Context) -> Result<u64, Failure> {
    let (mut count, mut after) = (0, String::new());
    loop {
        let page = expected(job, &after, context).await?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        after = last.clone();
        count += page.len() as u64;
        let mut found = Found::default();
        for group in page.chunk_by(|(one, _), (other, _)| prefix(one) == prefix(other)) {
            compare(store, group, &mut found).await?;
        }
        found.record(context).await?;
    }
}

/// The next page of keys and sizes.
async fn expected(job: &Job, after: &str, context: &Context) -> Result<Vec<(String, u64)>, Failure> {
    let max = i32::try_from(BATCH).unwrap_or(i32::MAX);
    let sql = "SELECT storage_key, size FROM nebula.list_objects($1, $2, $3, $4)";
    let parameters = [
        (&job.id as _, Type::INT8),
        (&job.attempt as _, Type::INT4),
        (&after as _, Type::TEXT),
        (&max as _, Type::INT4),
    ];
    let rows = context.read(sql, &parameters).await?;
    let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.unsigned_abs()));
    let page: Result<_, tokio_postgres::Error> = rows.iter().map(read).collect();
    page.map_err(|error| Failure::transient(format!("cannot read the objects: {error}")))
}

/// Compares objects of one prefix with what is there, by one listing.
async fn compare(store: &Store, group: &[(String, u64)], found: &mut Found) -> Result<(), Failure> {
    let Some((first, _)) = group.first() else { return Ok(()) };
    let listed: HashMap<String, u64> =
        store.list(prefix(first)).map_ok(|object| (object.key, object.size)).try_collect().await?;
    for (key, size) in group {
        let there = match listed.get(key) {
            Some(size) => Some(*size),
            // Stored after the listing, perhaps.
            None => match store.size(key).await {
                Ok(size) => Some(size),
                Err(StoreError::NotFound(_)) => None,
                Err(error) => return Err(error.into()),
            },
        };
        let fault = match there {
            None => "missing",
            Some(there) if there != *size => "changed",
            Some(_) => continue,
        };
        found.faults.push(Fault { key: key.clone(), fault, size: *size });
    }
    Ok(())
}

/// The content that a key belongs to: its first two segments.
fn prefix(key: &str) -> &str {
    let second = key.match_indices('/').nth(1);
    second.map_or(key, |(end, _)| &key[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn objects_that_are_missing_or_have_another_size_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
        std::fs::create_dir_all(folder.path().join("files/1")).unwrap();
        for name in ["a", "b"] {
            std::fs::write(folder.path().join("files/1").join(name), b"four").unwrap();
        }
        let expected = [("files/1/a", 4), ("files/1/b", 5), ("files/1/c", 4)];
        let expected = expected.map(|(key, size)| (key.to_owned(), size));
        let mut found = Found::default();
        compare(&store, &expected, &mut found).await.unwrap();
        let faults: Vec<_> = found.faults.iter().map(|fault| (fault.key.as_str(), fault.fault)).collect();
        assert_eq!(faults, [("files/1/b", "changed"), ("files/1/c", "missing")]);
        assert_eq!(["files/1/a/b", "files/1", "x"].map(prefix), ["files/1", "files/1", "x"]);
    }
}
