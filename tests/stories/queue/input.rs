//! Invalid input to the queue is refused with the right SQLSTATE, a message and a hint, and changes nothing.

use anyhow::Result;
use nebula_tests::cluster::Cluster;
use nebula_tests::sql::sqlstate_with_hint;

use super::{claim, enqueue};

#[tokio::test(flavor = "multi_thread")]
async fn invalid_arguments_in_sql_are_refused_with_sqlstate_and_hint() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let client = database.connect().await?;
    let job = enqueue(&client, "input").await?;
    let attempt = claim(&client, "input", 1).await?[0].1;
    let parent = enqueue(&client, "input.parent").await?;
    let child = format!("SELECT nebula.enqueue_job('input.child', '{{}}', depends_on => '{{{parent}}}')");
    let child: i64 = client.query_one(&child, &[]).await?.get(0);
    let huge = format!("jsonb_build_object('bulk', repeat('x', {}))", (1 << 20) + 1);
    let before: i64 = client.query_one("SELECT count(*) FROM nebula.job_status", &[]).await?.get(0);
    for (call, expected) in [
        ("SELECT nebula.enqueue_job('No Kind', '{}')".into(), "22023"),
        ("SELECT nebula.enqueue_job('', '{}')".into(), "22023"),
        ("SELECT nebula.enqueue_job('a', NULL)".into(), "22023"),
        (format!("SELECT nebula.enqueue_job('a', {huge})"), "22023"),
        (format!("SELECT nebula.enqueue_jobs('a', ARRAY['{{}}', {huge}])"), "22023"),
        ("SELECT nebula.enqueue_jobs('a', ARRAY['{}', NULL]::jsonb[])".into(), "22023"),
        ("SELECT nebula.enqueue_job('a', '{}', max_attempts => 0)".into(), "22023"),
        ("SELECT nebula.enqueue_job('a', '{}', unique_key => '')".into(), "22023"),
        ("SELECT nebula.enqueue_job('a', '{}', depends_on => '{999999}')".into(), "P0002"),
        // A job that depends on itself is the only possible cycle, because identifiers are assigned in
        // sequence.
        (
            format!("SELECT nebula.enqueue_job('a', '{{}}', depends_on => ARRAY[{}::bigint])", child + 1),
            "22023 P0002",
        ),
        ("SELECT nebula.claim_jobs('w', '{a}', lease => '-1 s')".into(), "22023"),
        ("SELECT nebula.claim_jobs('w', '{a}', lease => '0 s')".into(), "22023"),
        ("SELECT nebula.claim_jobs('w', '{a}', 0)".into(), "22023"),
        ("SELECT nebula.claim_jobs('w', '{}')".into(), "22023"),
        ("SELECT nebula.claim_jobs('', '{a}')".into(), "22023"),
        (format!("SELECT nebula.heartbeat_job({job}, {attempt}, 1.5)"), "22023"),
        (format!("SELECT nebula.heartbeat_job({job}, {attempt} + 1)"), "55000"),
        (format!("SELECT nebula.complete_job({job}, {attempt} - 1)"), "55000"),
        (format!("SELECT nebula.fail_job({job}, {attempt} + 1, 'no')"), "55000"),
        (format!("SELECT nebula.hand_back_job({job}, {attempt} + 1)"), "55000"),
        (format!("SELECT nebula.finish_and_claim({job}, {attempt} + 1, '1', 'w', '{{a}}')"), "55000"),
        (
            format!("SELECT nebula.finish_and_claim({job}, {attempt}, '1', 'w', '{{a}}', lease => '-1 s')"),
            "22023",
        ),
        (format!("SELECT nebula.complete_job({parent}, 1)"), "55000"),
        ("SELECT nebula.complete_job(999999, 1)".into(), "55000"),
        (format!("SELECT nebula.complete_jobs('{{{job}}}', '{{1, 1}}')"), "22023"),
        (format!("SELECT nebula.complete_jobs('{{{job}}}', NULL)"), "22023"),
        ("SELECT nebula.cancel_job(999999)".into(), "P0002"),
        ("SELECT nebula.retry_job(999999)".into(), "P0002"),
        (format!("SELECT nebula.retry_job({job})"), "55000"),
        ("SELECT nebula.prune_jobs('-1 s')".into(), "22023"),
    ] {
        let state = sqlstate_with_hint(&client, &call).await?;
        let call: String = call.chars().take(200).collect();
        assert!(expected.contains(&state), "{call}: {state}, not {expected}");
    }
    let after: i64 = client.query_one("SELECT count(*) FROM nebula.job_status", &[]).await?.get(0);
    assert_eq!(after, before, "nothing is left behind");
    // An unknown kind is no error, neither for enqueuing nor for claiming.
    assert!(claim(&client, "nobody.enqueued.this", 5).await?.is_empty());
    enqueue(&client, "nobody.does.this").await?;
    // The refused calls have not changed the job.
    client.execute("SELECT nebula.complete_job($1, $2)", &[&job, &attempt]).await?;
    for late in ["heartbeat_job($1, $2)", "complete_job($1, $2)", "fail_job($1, $2, 'late')"] {
        let late = client.query_one(&format!("SELECT nebula.{late}"), &[&job, &attempt]).await;
        assert_eq!(late.unwrap_err().code().map(|code| code.code()), Some("55000"));
    }
    Ok(())
}
