//! The folder store through its public interface.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::os::unix::fs::PermissionsExt;

use futures::{StreamExt, TryStreamExt};
use nebula_storage::{ByteStream, Object, Store, StoreError};

fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("file://{}/root", folder.path().display())).unwrap();
    (store, folder)
}

async fn put(store: &Store, key: &str, bytes: &[u8]) {
    let source = store.staging().join("source");
    std::fs::write(&source, bytes).unwrap();
    store.put_file(key, &source).await.unwrap();
    assert!(!source.exists(), "the source is moved, not copied");
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
async fn an_object_is_read_whole_and_by_range() {
    let (store, folder) = store();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n / 3) as u8).collect();
    put(&store, "files/1/original", &bytes).await;
    assert_eq!(store.size("files/1/original").await.unwrap(), 1_000_000);
    assert!(collect(store.read("files/1/original", 0..1_000_000)).await.unwrap() == bytes);
    let middle = collect(store.read("files/1/original", 262_000..600_001)).await.unwrap();
    assert!(middle == bytes[262_000..600_001]);
    assert!(collect(store.read("files/1/original", 5..5)).await.unwrap().is_empty());
    assert_eq!(store.local_path("files/1/original").unwrap(), folder.path().join("root/files/1/original"));
    let mode = std::fs::metadata(folder.path().join("root")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_put_replaces_and_takes_a_source_from_another_file_system() {
    let (store, _folder) = store();
    put(&store, "a/b", b"old").await;
    let elsewhere = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    std::fs::write(elsewhere.path(), b"new!").unwrap();
    store.put_file("a/b", elsewhere.path()).await.unwrap();
    assert!(!elsewhere.path().exists());
    assert_eq!(collect(store.read("a/b", 0..4)).await.unwrap(), b"new!");
    assert_eq!(std::fs::read_dir(store.staging()).unwrap().count(), 0, "nothing half-made is left");
}

#[tokio::test]
async fn missing_and_truncated_objects_give_different_errors() {
    let (store, _folder) = store();
    put(&store, "a", b"short").await;
    assert!(matches!(collect(store.read("a", 2..9)).await, Err(StoreError::Truncated { missing: 4, .. })));
    assert!(matches!(collect(store.read("b", 0..1)).await, Err(StoreError::NotFound(_))));
    assert!(matches!(store.size("b").await, Err(StoreError::NotFound(_))));
    assert!(matches!(store.size("../a").await, Err(StoreError::Key(_))));
    assert!(matches!(collect(store.read("/etc/passwd", 0..1)).await, Err(StoreError::Key(_))));
    assert_eq!(store.local_path("../a"), None);
}

#[tokio::test]
async fn deletes_remove_empty_folders_and_no_other_object() {
    let (store, folder) = store();
    put(&store, "files/1/original", b"1").await;
    put(&store, "files/1/web.mp4", b"2").await;
    put(&store, "files/12/original", b"3").await;
    store.delete("files/1/web.mp4").await.unwrap();
    store.delete("files/1/web.mp4").await.unwrap();
    assert_eq!(store.size("files/1/original").await.unwrap(), 1);
    store.delete_prefix("files/1").await.unwrap();
    store.delete_prefix("files/1").await.unwrap();
    assert!(!folder.path().join("root/files/1").exists());
    store.delete("files/12/original").await.unwrap();
    assert!(!folder.path().join("root/files").exists());
}

#[tokio::test]
async fn a_listing_finds_every_object_below_a_prefix_and_no_unfinished_file() {
    let (store, _folder) = store();
    put(&store, "files/1/original", b"12345").await;
    put(&store, "files/1/web.mp4", b"2").await;
    put(&store, "files/12/original", b"3").await;
    std::fs::write(store.staging().join("upload-half"), b"half").unwrap();
    let list = async |prefix: &str| {
        let mut found: Vec<Object> = store.list(prefix).try_collect().await.unwrap();
        found.sort_by(|one, other| one.key.cmp(&other.key));
        found.into_iter().map(|object| (object.key, object.size)).collect::<Vec<_>>()
    };
    let first = [("files/1/original".to_owned(), 5), ("files/1/web.mp4".to_owned(), 1)];
    assert_eq!(list("files/1").await, first);
    assert_eq!(list("files").await.len(), 3);
    assert_eq!(list("nothing").await, []);
    assert!(store.list("../x").try_next().await.is_err());
}

#[tokio::test]
async fn a_dropped_reader_stops() {
    let (store, _folder) = store();
    put(&store, "big", &vec![7; 8 << 20]).await;
    let mut stream = store.read("big", 0..8 << 20);
    assert_eq!(stream.next().await.unwrap().unwrap()[..], [7; 64 * 1024]);
    drop(stream);
    // The runtime waits for its blocking tasks when it ends, so a reader that did not stop would hang this
    // test.
}
