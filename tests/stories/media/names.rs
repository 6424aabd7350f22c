//! Names of uploads: how they are compared, which are refused, and what is said of one that is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use futures::stream;
use nebula_api::file::File;
use nebula_tests::api::{data, good, refusal};
use nebula_tests::stack::Stack;
use reqwest::{Body, Response};
use sha2::{Digest, Sha256};
use tokio_postgres::error::SqlState;

const CHUNK: usize = 256 * 1024;
const CHUNKS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_one_file_however_its_letters_are_composed_and_turns_no_text() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let client = stack.database.connect().await?;
    let bytes = b"from a Mac".to_vec();
    let decomposed = "U\u{308}berfahrt.txt";
    let first: File = data(good(api.upload(stack.project, decomposed, bytes.clone()).await?).await?).await?;
    assert_eq!(first.name, "Überfahrt.txt");
    let second = api.upload(stack.project, "Überfahrt.txt", bytes.clone()).await?;
    assert_eq!(second.status(), 200);
    assert_eq!(data::<File>(second).await?.file_id, first.file_id);
    for name in ["film\u{202e}4pm.exe", "\u{2066}a.txt\u{2069}"] {
        let refused = refusal(api.upload(stack.project, name, bytes.clone()).await?).await?;
        assert_eq!(refused.status.as_u16(), 400, "{name:?}");
        ensure!(refused.failure.hint.is_some_and(|hint| hint.contains("direction")), "{name:?}");
        let sql = "UPDATE nebula.file SET name = $1";
        let error = client.execute(sql, &[&name]).await.err();
        assert_eq!(
            error.as_ref().and_then(|error| error.code()),
            Some(&SqlState::CHECK_VIOLATION),
            "{name:?}"
        );
    }
    let error = client.execute("UPDATE nebula.file SET name = $1", &[&decomposed]).await.err();
    assert_eq!(error.as_ref().and_then(|error| error.code()), Some(&SqlState::CHECK_VIOLATION));
    Ok(())
}

/// Uploads 50 MB chunk by chunk; answers the response and the chunks that were asked for.
async fn send(stack: &Stack, byte: u8, query: &[(&str, &str)]) -> Result<(Response, usize)> {
    let api = stack.admin().await?;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let chunks = (0..CHUNKS).map(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(vec![byte; CHUNK])
    });
    let query: Vec<_> = query.iter().map(|(name, value)| format!("&{name}={value}")).collect();
    let request = api.post(&format!("/api/files?projectId={}{}", stack.project, query.concat()));
    let request = request.header("content-length", CHUNK * CHUNKS);
    let response = request.body(Body::wrap_stream(stream::iter(chunks))).send().await?;
    Ok((response, asked.load(Ordering::Relaxed)))
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_name_is_taken_is_said_before_the_bytes_travel() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let one = vec![1; CHUNK * CHUNKS];
    let name = [("name", "IMG_0001.bin")];
    let (first, _) = send(&stack, 1, &name).await?;
    let first: File = data(good(first).await?).await?;
    // Of the same size: the first bytes tell.
    let (other, sent) = send(&stack, 2, &name).await?;
    assert_eq!(other.status(), 409);
    ensure!(sent < CHUNKS / 2, "{sent} of {CHUNKS} chunks were sent");
    let (same, _) = send(&stack, 1, &name).await?;
    assert_eq!(same.status(), 200);
    // With a checksum, not even those.
    let sha256 = hex::encode(Sha256::digest(&one));
    let (known, sent) = send(&stack, 1, &[name[0], ("sha256", &sha256)]).await?;
    assert_eq!(known.status(), 200);
    assert_eq!(data::<File>(known).await?.file_id, first.file_id);
    ensure!(sent < CHUNKS / 2, "{sent} of {CHUNKS} chunks were sent");
    let (damaged, _) = send(&stack, 2, &[("name", "new.bin"), ("sha256", &sha256)]).await?;
    assert_eq!(damaged.status(), 400);
    // Of another size.
    let refused = refusal(api.upload(stack.project, "IMG_0001.bin", vec![1; 9]).await?).await?;
    assert_eq!(refused.status.as_u16(), 409);
    assert_eq!(stack.stored()?.len(), 1);
    Ok(())
}
