//! An S3 bucket as an object store, through `object_store`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::multipart::MultipartStore;
use object_store::{ClientOptions, GetOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::multipart::{Parts, Upload};
use crate::url::BucketLocation;
use crate::{ByteStream, Object, StoreError, folder};

/// Smallest part. S3 demands at least 5 MiB; larger parts need fewer requests.
const MIN_PART: u64 = 8 * 1024 * 1024;
/// S3 allows 10 000 parts; a file that grows while it is read must still fit.
const MAX_PARTS: u64 = 9_000;
/// How long a request is tried again; whoever made it hears of the fault, and waits or says so.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    parts: Parts,
    prefix: String,
    staging: PathBuf,
}

impl Bucket {
    pub(crate) fn open(location: &BucketLocation) -> Result<Self, StoreError> {
        // A long download may go on as long as bytes arrive, so only a pause times out.
        let options = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(Duration::from_secs(10))
            .with_read_timeout(Duration::from_secs(60));
        let mut builder = AmazonS3Builder::from_env()
            .with_client_options(options)
            .with_retry(RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() })
            .with_bucket_name(&location.bucket)
            .with_virtual_hosted_style_request(false);
        if let Some(endpoint) = &location.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(region) = &location.region {
            builder = builder.with_region(region);
        }
        let store = builder.build().map_err(|error| StoreError::Url(error.to_string()))?;
        let uid = std::os::unix::fs::MetadataExt::uid(
            &std::fs::metadata("/proc/self")
                .map_err(|source| StoreError::io("inspect", "/proc/self", source))?,
        );
        let staging = std::env::temp_dir().join(format!("nebula-staging-{uid}"));
        folder::private_folder(&staging)?;
        Ok(Self::new(Arc::new(store), location.prefix.clone(), staging))
    }

    fn new<S: ObjectStore + MultipartStore>(store: Arc<S>, prefix: String, staging: PathBuf) -> Self {
        Self { parts: Parts::new(store.clone(), &prefix), store, prefix, staging }
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.staging.clone()
    }

    fn path(&self, key: &str) -> object_store::path::Path {
        object_store::path::Path::from_iter(
            self.prefix.split('/').chain(key.split('/')).filter(|part| !part.is_empty()),
        )
    }

    pub(crate) async fn put_file(&self, key: &str, source: &Path) -> Result<(), StoreError> {
        let local = |error| StoreError::io("read", source.display().to_string(), error);
        let remote = |error| StoreError::bucket("store", key, error);
        let mut file = File::open(source).await.map_err(local)?;
        let size = file.metadata().await.map_err(local)?.len();
        let part = MIN_PART.max(size.div_ceil(MAX_PARTS));
        if size <= part {
            let mut bytes = Vec::with_capacity(size as usize);
            file.read_to_end(&mut bytes).await.map_err(local)?;
            self.store.put(&self.path(key), PutPayload::from(bytes)).await.map_err(remote)?;
        } else {
            let mut upload = self.parts.begin(self.path(key)).await.map_err(remote)?;
            send(&mut upload, &mut file, part).await.map_err(|error| match error {
                PartError::Local(error) => local(error),
                PartError::Remote(error) => remote(error),
            })?;
            upload.finish().await.map_err(remote)?;
        }
        tokio::fs::remove_file(source).await.map_err(local)
    }

    pub(crate) fn read(&self, key: &str, range: Range<u64>) -> ByteStream {
        if range.is_empty() {
            return futures::stream::empty().boxed();
        }
        let (store, path, key) = (self.store.clone(), self.path(key), key.to_owned());
        let opened = async move {
            let wanted = range.end - range.start;
            let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
            let result = store
                .get_opts(&path, options)
                .await
                .map_err(|error| StoreError::bucket("read", &key, error))?;
            let missing = wanted.saturating_sub(result.range.end - result.range.start);
            let tail_key = key.clone();
            let tail = futures::stream::iter(
                (missing > 0).then(|| Err(StoreError::Truncated { key: tail_key, missing })),
            );
            let body = result.into_stream().map_err(move |error| StoreError::bucket("read", &key, error));
            Ok::<_, StoreError>(body.chain(tail))
        };
        futures::stream::once(opened).try_flatten().boxed()
    }

    pub(crate) async fn size(&self, key: &str) -> Result<u64, StoreError> {
        let head = self.store.head(&self.path(key)).await;
        head.map(|meta| meta.size).map_err(|error| StoreError::bucket("inspect", key, error))
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self.store.delete(&self.path(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::bucket("delete", key, error)),
        }
    }

    pub(crate) async fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        let listed = self.store.list(Some(&self.path(prefix))).map_ok(|meta| meta.location).boxed();
        let mut deleted = self.store.delete_stream(listed);
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(StoreError::bucket("delete", prefix, error)),
            }
        }
        Ok(())
    }

    pub(crate) fn list(&self, prefix: &str) -> BoxStream<'static, Result<Object, StoreError>> {
        let (root, prefix) = (format!("{}/", self.prefix.trim_matches('/')), prefix.to_owned());
        self.store
            .list(Some(&self.path(&prefix)))
            .map_ok(move |meta| {
                let key = meta.location.as_ref();
                let key = key.strip_prefix(&root).unwrap_or(key).to_owned();
                Object { key, size: meta.size, stored_at: meta.last_modified.into() }
            })
            .map_err(move |error| StoreError::bucket("list", &prefix, error))
            .boxed()
    }

    pub(crate) async fn abort_uploads(&self, age: Duration) -> Result<u64, StoreError> {
        let aborted = self.parts.abort_older(age).await;
        aborted.map_err(|error| StoreError::bucket("abort unfinished uploads of", "", error))
    }

    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        // Not a valid key, so it never collides with an object.
        let path = self.path(".check");
        let probe = async {
            self.store.put(&path, PutPayload::from_static(b"ok")).await?;
            self.store.delete(&path).await
        };
        probe.await.map_err(|error| StoreError::bucket("write", path.as_ref(), error))
    }
}

/// Reads the file part by part, never holding more than the parts in flight.
async fn send(upload: &mut Upload, file: &mut File, part: u64) -> Result<(), PartError> {
    loop {
        let mut buffer = BytesMut::with_capacity(part as usize);
        while (buffer.len() as u64) < part {
            let missing = part - buffer.len() as u64;
            if (&mut *file).take(missing).read_buf(&mut buffer).await.map_err(PartError::Local)? == 0 {
                break;
            }
        }
        if buffer.is_empty() {
            return Ok(());
        }
        upload.put(buffer.freeze()).await.map_err(PartError::Remote)?;
    }
}

enum PartError {
    Local(std::io::Error),
    Remote(object_store::Error),
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    /// A bucket in memory, and the folder its source files come from.
    pub(super) fn bucket() -> (Bucket, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Bucket::new(Arc::new(InMemory::new()), "team".into(), folder.path().to_owned()), folder)
    }

    async fn collect(stream: ByteStream) -> Result<Vec<u8>, StoreError> {
        stream
            .try_fold(Vec::new(), |mut all, chunk| async move {
                all.extend(&chunk);
                Ok(all)
            })
            .await
    }

    #[tokio::test]
    async fn a_multipart_upload_comes_back_whole_and_by_range() {
        let (bucket, folder) = bucket();
        let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| (n / 7) as u8).collect();
        let source = folder.path().join("source");
        std::fs::write(&source, &bytes).unwrap();
        bucket.put_file("files/1/original", &source).await.unwrap();
        assert!(!source.exists());
        assert_eq!(bucket.size("files/1/original").await.unwrap(), 20_000_000);
        assert!(collect(bucket.read("files/1/original", 0..20_000_000)).await.unwrap() == bytes);
        let middle = collect(bucket.read("files/1/original", 8_388_600..8_388_700)).await.unwrap();
        assert_eq!(middle, &bytes[8_388_600..8_388_700]);
        assert!(bucket.store.head(&"team/files/1/original".into()).await.is_ok());
    }

    #[tokio::test]
    async fn deletes_can_be_repeated_and_stay_within_their_prefix() {
        let (bucket, folder) = bucket();
        for key in ["files/1/a", "files/1/b", "files/12/a"] {
            let source = folder.path().join("source");
            std::fs::write(&source, key).unwrap();
            bucket.put_file(key, &source).await.unwrap();
        }
        let listed =
            bucket.list("files/1").map_ok(|object| object.key).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(listed, ["files/1/a", "files/1/b"]);
        bucket.delete_prefix("files/1").await.unwrap();
        assert!(matches!(bucket.size("files/1/a").await, Err(StoreError::NotFound(_))));
        assert_eq!(bucket.size("files/12/a").await.unwrap(), 10);
        bucket.delete("files/12/a").await.unwrap();
        bucket.delete("files/12/a").await.unwrap();
        assert!(matches!(collect(bucket.read("files/12/a", 0..1)).await, Err(StoreError::NotFound(_))));
        bucket.check().await.unwrap();
    }

    #[tokio::test]
    async fn a_range_past_the_end_is_told() {
        let (bucket, folder) = bucket();
        let source = folder.path().join("source");
        std::fs::write(&source, b"short").unwrap();
        bucket.put_file("a", &source).await.unwrap();
        let error = collect(bucket.read("a", 0..9)).await.unwrap_err();
        assert!(matches!(error, StoreError::Truncated { missing: 4, .. }), "{error}");
    }
}
