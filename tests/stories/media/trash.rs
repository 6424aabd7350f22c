//! The trash: deleted files can be had back, and go for good after a while.

use anyhow::{Result, ensure};
use nebula_api::file::File;
use nebula_api::folder::Changed;
use nebula_tests::api::{data, good, refusal};
use nebula_tests::eventually;
use nebula_tests::media::{self, FRIENDLY};
use nebula_tests::stack::Stack;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_film_ends_everywhere_frees_its_name_and_comes_back_ready() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let film = stack.path("film.mkv");
    media::film(&film, FRIENDLY)?;
    let bytes = std::fs::read(&film)?;
    let first: File = data(good(api.upload(stack.project, "film.mkv", bytes.clone()).await?).await?).await?;
    let path = format!("/api/files/{}", first.file_id);
    let link = good(api.post(&format!("{path}/link")).send().await?).await?;
    let link: nebula_api::file::Link = data(link).await?;
    good(api.anonymous(&link.path).send().await?).await?;

    good(api.delete(&path).send().await?).await?;
    good(api.delete(&path).send().await?).await?;
    let client = stack.database.connect().await?;
    let jobs = "SELECT string_agg(DISTINCT j.state, ' ')
                  FROM nebula.content_job c JOIN nebula.job_status j USING (job_id)";
    let state: Option<String> = client.query_one(jobs, &[]).await?.get(0);
    assert_eq!(state.as_deref(), Some("cancelled"), "nobody waits for it");
    for way in [path.clone(), format!("{path}/content"), format!("{path}/hls/master.m3u8")] {
        let gone = refusal(api.get(&way).send().await?).await?;
        assert_eq!(gone.status.as_u16(), 404, "{way}");
        ensure!(gone.failure.detail.contains("in the trash") && gone.failure.hint.is_some(), "{way}");
    }
    assert_eq!(api.anonymous(&link.path).send().await?.status(), 404);
    ensure!(api.read::<Vec<File>>("/api/files").await?.is_empty());
    let trash = format!("/api/trash?projectId={}", stack.project);
    let [listed] = &api.read::<Vec<File>>(&trash).await?[..] else { anyhow::bail!("one file") };
    ensure!(listed.file_id == first.file_id && listed.deleted_at.is_some());
    // Its bytes wait.
    assert_eq!(stack.stored()?.len(), 1);

    let other = [&bytes[..], b"other"].concat();
    let second: File = data(good(api.upload(stack.project, "film.mkv", other).await?).await?).await?;
    let restore = |body: serde_json::Value| {
        let request = api.post(&format!("/api/trash/{}/restore", first.file_id)).json(&body);
        async { anyhow::Ok(request.send().await?) }
    };
    let taken = refusal(restore(json!({})).await?).await?;
    assert_eq!(taken.status.as_u16(), 409);
    let back: File =
        data(good(restore(json!({ "name": "back.mkv", "folder": "films" })).await?).await?).await?;
    assert_eq!(
        (back.file_id, back.folder.as_str(), back.name.as_str()),
        (first.file_id, "films", "back.mkv")
    );
    assert_eq!(refusal(restore(json!({})).await?).await?.status.as_u16(), 409, "it is not there any more");
    good(api.delete(&format!("/api/files/{}", second.file_id)).send().await?).await?;
    let _worker = stack.worker("worker", 3)?;
    assert_eq!(api.settled("back.mkv").await?.state, "ready", "what was stopped goes on");
    let original = api.get(&format!("{path}/content?rendition=original")).send().await?;
    assert_eq!(good(original).await?.bytes().await?, bytes);

    // Only what is in the trash is deleted by emptying it.
    assert_eq!(api.delete(&format!("/api/trash/{}", first.file_id)).send().await?.status(), 409);
    let emptied: Changed = data(good(api.delete(&trash).send().await?).await?).await?;
    assert_eq!(emptied.files, 1);
    let left: Vec<File> = api.read("/api/files").await?;
    assert_eq!(left.len(), 1);
    let stranger = stack.member("stranger").await?;
    client.execute("DELETE FROM nebula.project_member", &[]).await?;
    good(api.delete(&path).send().await?).await?;
    for request in [
        stranger.post(&format!("/api/trash/{}/restore", first.file_id)).json(&json!({})),
        stranger.delete(&format!("/api/trash/{}", first.file_id)),
        stranger.delete(&format!("{path}?permanently=true")),
    ] {
        assert_eq!(request.send().await?.status(), 404);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_trash_for_long_is_deleted_and_bytes_stay_until_their_last_file_is() -> Result<()> {
    let mut stack = Stack::start().await?;
    let api = stack.admin().await?;
    let mut files: Vec<File> = Vec::new();
    for (name, bytes) in [("one.txt", "same"), ("two.txt", "same"), ("new.txt", "new"), ("back.txt", "back")]
    {
        files.push(data(good(api.upload(stack.project, name, bytes.into()).await?).await?).await?);
    }
    let [one, two, fresh, back] = &files[..] else { anyhow::bail!("four files") };
    assert_eq!(stack.stored()?.len(), 3);
    for file in [one, fresh, back] {
        good(api.delete(&format!("/api/files/{}", file.file_id)).send().await?).await?;
    }
    let client = stack.database.connect().await?;
    let age = "UPDATE nebula.file SET deleted_at = now() - $2::text::interval WHERE file_id = $1";
    for (file, days) in [(one, "8 days"), (fresh, "6 days"), (back, "8 days")] {
        client.execute(age, &[&file.file_id, &days]).await?;
    }
    good(api.post(&format!("/api/trash/{}/restore", back.file_id)).json(&json!({})).send().await?).await?;
    stack.restart_with(&[("NEBULA_TRASH_DAYS", "7")]).await?;
    let trash = format!("/api/trash?projectId={}", stack.project);
    let left = || async {
        let files: Vec<File> = api.read(&trash).await?;
        let names: Vec<_> = files.into_iter().map(|file| file.name).collect();
        Ok((names == ["new.txt"]).then_some(()))
    };
    eventually("the old one to go", left).await?;
    // The other file still has these bytes.
    assert_eq!(stack.stored()?.len(), 3);
    let content = api.get(&format!("/api/files/{}/content", two.file_id)).send().await?;
    assert_eq!(good(content).await?.text().await?, "same");
    good(api.delete(&format!("/api/files/{}", two.file_id)).send().await?).await?;
    client.execute(age, &[&two.file_id, &"8 days"]).await?;
    stack.restart_with(&[]).await?;
    eventually("the bytes to go with the last one", || async {
        Ok((stack.stored()?.len() == 2).then_some(()))
    })
    .await
}
