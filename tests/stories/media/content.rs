//! Bytes are stored once in a project, however many files have them.

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use nebula_api::file::File;
use nebula_tests::api::{data, good};
use nebula_tests::eventually;
use nebula_tests::media::{self, FRIENDLY};
use nebula_tests::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a_film_uploaded_twice_is_stored_and_converted_once_and_stays_until_its_last_file_goes() -> Result<()>
{
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let film = stack.path("film.mkv");
    media::film(&film, FRIENDLY)?;
    let bytes = std::fs::read(&film)?;
    let _worker = stack.worker("worker", 3)?;
    let first: File = data(good(api.upload(stack.project, "first.mkv", bytes.clone()).await?).await?).await?;
    api.settled("first.mkv").await?;
    let second: File =
        data(good(api.upload(stack.project, "second.mkv", bytes.clone()).await?).await?).await?;
    assert_eq!(second.state, "ready", "nothing has to be made again");
    assert_eq!((second.job_id, second.sha256), (first.job_id, first.sha256));
    ensure!(second.file_id != first.file_id && second.name == "second.mkv");
    let named = |part: &str| {
        Ok::<_, anyhow::Error>(
            stack.stored()?.iter().filter(|path| path.to_string_lossy().contains(part)).count(),
        )
    };
    assert_eq!((named("/original")?, named("/web-")?), (1, 1), "{:?}", stack.stored()?);

    good(api.delete(&format!("/api/files/{}?permanently=true", first.file_id)).send().await?).await?;
    let played = good(api.get(&format!("/api/files/{}/content", second.file_id)).send().await?).await?;
    ensure!(!played.bytes().await?.is_empty());
    let original = api.get(&format!("/api/files/{}/content?rendition=original", second.file_id));
    assert_eq!(good(original.send().await?).await?.bytes().await?, bytes);

    good(api.delete(&format!("/api/files/{}?permanently=true", second.file_id)).send().await?).await?;
    // Chunks may be in the making; their job is cancelled, and its worker leaves nothing.
    eventually("the store to be empty", || async { Ok(stack.stored()?.is_empty().then_some(())) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_deletions_of_the_same_bytes_at_once_leave_what_the_files_need_and_no_more() -> Result<()>
{
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let bytes = b"the same notes".to_vec();
    for round in 0..5 {
        let names: Vec<String> = (0..8).map(|number| format!("{round}-{number}.txt")).collect();
        let upload = |name: &String| {
            let (api, name, bytes) = (api.clone(), name.clone(), bytes.clone());
            async move { data::<File>(good(api.upload(stack.project, &name, bytes).await?).await?).await }
        };
        let files = try_join_all(names.iter().map(upload)).await?;
        // The last ones of this round go while the next ones come.
        let delete = |file: &File| {
            let request = api.delete(&format!("/api/files/{}?permanently=true", file.file_id));
            async move { good(request.send().await?).await }
        };
        let late = format!("late-{round}.txt");
        let (deleted, kept) = tokio::join!(try_join_all(files.iter().map(delete)), upload(&late));
        deleted?;
        let path = format!("/api/files/{}/content", kept?.file_id);
        assert_eq!(good(api.get(&path).send().await?).await?.bytes().await?, bytes, "round {round}");
        assert_eq!(stack.stored()?.len(), 1, "round {round}");
    }
    Ok(())
}
