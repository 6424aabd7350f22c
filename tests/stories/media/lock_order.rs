//! A film is locked before its jobs, by those who delete it and by workers.

use anyhow::{Context, Result};
use nebula_tests::cluster::Cluster;
use nebula_tests::eventually;

/// A film whose job runs.
const FILM: &str = "
    SELECT nebula.create_account('anna', '$argon2id$', 'admin');
    SELECT nebula.create_file(a.account_id, gen_random_uuid(), nebula.create_project('p'), '', 'film.mkv', 9,
                              sha256('film'), 'video/x-matroska', 'files/film', true)
      FROM nebula.account a;
    SELECT nebula.claim_jobs('w', '{transcode}', lease => '1 hour')";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_waits_for_a_film_does_not_hold_its_job() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let (mut deleter, watcher) = (database.connect().await?, database.connect().await?);
    watcher.batch_execute(FILM).await?;
    let waits = "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'";
    for call in [
        "plan_renditions(r.job_id, 1, c.content_id, '{\"variants\": [], \"sounds\": [], \"subtitles\": []}')",
        "add_rendition(r.job_id, 1, c.content_id, 'web', 'files/web', 9, sha256('web'), 'video/mp4')",
        "plan_in_software(r.job_id, 1, c.content_id, 'it failed')",
    ] {
        let worker = database.connect().await?;
        let pid: i32 = worker.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        let delete = deleter.transaction().await?;
        delete.execute("SELECT FROM nebula.content FOR NO KEY UPDATE", &[]).await?;
        let sql = format!("SELECT nebula.{call} FROM nebula.job_running r, nebula.content c");
        let work = tokio::spawn(async move { worker.execute(&sql, &[]).await });
        eventually("the worker to wait", || async { Ok(watcher.query_opt(waits, &[&pid]).await?) }).await?;
        let job = "SELECT FROM nebula.job_running FOR UPDATE NOWAIT";
        assert_eq!(delete.execute(job, &[]).await.context(call)?, 1);
        delete.commit().await?;
        work.await?.context(call)?;
    }
    Ok(())
}
