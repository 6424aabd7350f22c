//! Uploads in parts. Each is on record in the bucket while it is under way, because a service bills the parts of an
//! upload that nobody finishes, and not all services list those.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, MultipartId, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Folder of the records; no valid key begins with a dot.
const RECORDS: &str = ".multipart";
/// Parts in flight, which together with the part size bounds the memory of one upload.
const PARALLEL_PARTS: usize = 4;

/// How often the record of an upload under way is written again, so that its age tells it from one that nobody works
/// on, however long it takes.
const RECORD_INTERVAL: Duration = Duration::from_secs(3600);
/// Age from which on the record of an upload that cannot be aborted is forgotten.
const HOPELESS: Duration = Duration::from_secs(7 * 24 * 3600);

/// The two faces of one bucket.
#[derive(Clone)]
pub(crate) struct Parts {
    store: Arc<dyn ObjectStore>,
    parts: Arc<dyn MultipartStore>,
    /// Path of the records.
    records: Path,
    record_interval: Duration,
}

/// An upload under way; aborted when it is dropped unfinished, after an error or because its caller stopped waiting.
pub(crate) struct Upload {
    bucket: Parts,
    location: Path,
    id: MultipartId,
    /// `None`: the upload has ended.
    record: Option<Record>,
    sending: FuturesUnordered<JoinHandle<Result<(usize, PartId), Error>>>,
    sent: Vec<Option<PartId>>,
}

/// The record of an upload, and the task that keeps it young.
struct Record {
    path: Path,
    renewal: JoinHandle<()>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Parts {
    pub(crate) fn new<S: ObjectStore + MultipartStore>(store: Arc<S>, prefix: &str) -> Self {
        let records = prefix.split('/').chain([RECORDS]).filter(|part| !part.is_empty());
        let records = Path::from_iter(records);
        Self { store: store.clone(), parts: store, records, record_interval: RECORD_INTERVAL }
    }

    pub(crate) async fn begin(&self, location: Path) -> Result<Upload, Error> {
        let id = self.parts.create_multipart(&location).await?;
        let path = self.records.clone().join(id.as_str());
        let text = PutPayload::from(format!("{location}\n{id}"));
        let renewal = tokio::spawn(self.clone().renew(path.clone(), text.clone()));
        let upload = Upload {
            bucket: self.clone(),
            location,
            id,
            record: Some(Record { path: path.clone(), renewal }),
            sending: FuturesUnordered::new(),
            sent: Vec::new(),
        };
        self.store.put(&path, text).await?;
        Ok(upload)
    }

    /// Writes a record again and again.
    async fn renew(self, record: Path, text: PutPayload) {
        loop {
            sleep(self.record_interval).await;
            // One that fails now is written at the next time, long before it is old.
            let _ = self.store.put(&record, text.clone()).await;
        }
    }

    /// Aborts uploads that nobody has worked on for so long; answers how many.
    pub(crate) async fn abort_older(&self, age: Duration) -> Result<u64, Error> {
        let records: Vec<_> = self.store.list(Some(&self.records)).try_collect().await?;
        let mut aborted = 0;
        for record in records {
            let written = SystemTime::from(record.last_modified);
            let since = SystemTime::now().duration_since(written).unwrap_or_default();
            if since < age {
                continue;
            }
            let text = self.store.get(&record.location).await?.bytes().await?;
            let text = String::from_utf8_lossy(&text);
            if let Some((location, id)) = text.split_once('\n') {
                match self.abort(&Path::from(location), &id.to_owned()).await {
                    Ok(()) => aborted += 1,
                    Err(error) if since < HOPELESS => return Err(error),
                    Err(_) => {}
                }
            }
            self.store.delete(&record.location).await?;
        }
        Ok(aborted)
    }

    async fn abort(&self, location: &Path, id: &MultipartId) -> Result<(), Error> {
        match self.parts.abort_multipart(location, id).await {
            // Finished or aborted already.
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }
}

impl Upload {
    /// Sends the next part; waits while enough are in flight.
    pub(crate) async fn put(&mut self, bytes: Bytes) -> Result<(), Error> {
        while self.sending.len() >= PARALLEL_PARTS {
            self.settle_one().await?;
        }
        let (parts, location, id) = (self.bucket.parts.clone(), self.location.clone(), self.id.clone());
        let index = self.sent.len();
        self.sent.push(None);
        self.sending.push(tokio::spawn(async move {
            let part = parts.put_part(&location, &id, index, PutPayload::from(bytes)).await?;
            Ok((index, part))
        }));
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), Error> {
        if let Some(settled) = self.sending.next().await {
            let (index, part) = settled.map_err(|source| Error::JoinError { source })??;
            self.sent[index] = Some(part);
        }
        Ok(())
    }

    /// Waits for all parts, then makes the object visible.
    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        while !self.sending.is_empty() {
            self.settle_one().await?;
        }
        let parts = self.sent.iter().flatten().cloned().collect();
        self.bucket.parts.complete_multipart(&self.location, &self.id, parts).await?;
        if let Some(record) = self.record.take() {
            record.renewal.abort();
            // Ended, so that it does not write the record again.
            let _ = record.renewal.await;
            // A record that stays is found later, and there is nothing left to abort.
            let _ = self.bucket.store.delete(&record.path).await;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(record), Ok(runtime)) = (self.record.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        record.renewal.abort();
        self.sending.iter().for_each(JoinHandle::abort);
        let (bucket, location, id) = (self.bucket.clone(), self.location.clone(), self.id.clone());
        runtime.spawn(async move {
            let _ = record.renewal.await;
            if bucket.abort(&location, &id).await.is_ok() {
                let _ = bucket.store.delete(&record.path).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn an_upload_of_a_killed_process_is_aborted_when_it_is_old() {
        let store = Arc::new(InMemory::new());
        let bucket = Parts::new(store.clone(), "team");
        let mut upload = bucket.begin("team/files/1/original".into()).await.unwrap();
        upload.put(Bytes::from_static(b"part")).await.unwrap();
        // As a kill does: nothing is cleaned up.
        upload.record.as_ref().unwrap().renewal.abort();
        std::mem::forget(upload);
        let records = async || store.list(Some(&"team/.multipart".into())).count().await;
        assert_eq!(bucket.abort_older(Duration::from_secs(3600)).await.unwrap(), 0, "it may be under way");
        assert_eq!(records().await, 1);
        assert_eq!(bucket.abort_older(Duration::ZERO).await.unwrap(), 1);
        assert_eq!(records().await, 0);
        assert_eq!(bucket.abort_older(Duration::ZERO).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_upload_under_way_stays_young() {
        let store = Arc::new(InMemory::new());
        let bucket = Parts { record_interval: Duration::from_millis(1), ..Parts::new(store.clone(), "team") };
        let upload = bucket.begin("team/files/1/original".into()).await.unwrap();
        let record = upload.record.as_ref().unwrap().path.clone();
        let written = async || store.head(&record).await.unwrap().last_modified;
        let begun = written().await;
        let renewed = async {
            while written().await == begun {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), renewed).await.expect("the record is written again");
        upload.finish().await.unwrap();
        assert!(store.head(&record).await.is_err(), "it is not written again after the end");
    }

    #[tokio::test]
    async fn a_finished_upload_leaves_no_record_and_keeps_the_order_of_its_parts() {
        let store = Arc::new(InMemory::new());
        let bucket = Parts::new(store.clone(), "");
        let mut upload = bucket.begin("a".into()).await.unwrap();
        for n in 0..20_u8 {
            upload.put(vec![n; 3].into()).await.unwrap();
        }
        upload.finish().await.unwrap();
        let stored = store.get(&"a".into()).await.unwrap().bytes().await.unwrap();
        assert_eq!(stored.to_vec(), (0..20).flat_map(|n| [n; 3]).collect::<Vec<_>>());
        assert_eq!(store.list(None).count().await, 1);
    }
}
