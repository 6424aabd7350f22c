//! Notifications are hints: every role that may connect to the database can send them.

use std::fs;

use anyhow::{Context, Result, ensure};
use nebula_tests::EVENT_TIMEOUT;
use nebula_tests::api::good;
use nebula_tests::stack::Stack;
use tokio::time::timeout;
use uuid::Uuid;

use crate::dnapi::enrolled;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_that_may_only_connect_notifies_is_neither_shown_nor_logged() -> Result<()> {
    let stack = Stack::start().await?;
    let owner = stack.database.connect().await?;
    let role = format!("stranger_{}", Uuid::new_v4().simple());
    owner.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await?;
    let stranger = stack.database.connect_as(&role).await?;
    let laptop = enrolled(&stack, "laptop").await?;
    let api = stack.admin().await?;
    let mut stream = good(api.get("/api/stream").send().await?).await?;
    // After the first frame the stream is subscribed, so no later event is missed.
    stream.chunk().await?.context("the stream has ended")?;
    let waiting = {
        let laptop = laptop.clone();
        tokio::spawn(async move { laptop.wait(&["DoUpdate", "DoConfigUpdate"]).await })
    };
    let lines = || anyhow::Ok(fs::read_to_string(stack.log("gateway"))?.lines().count());
    let before = lines()?;

    let forge = format!(
        "SELECT pg_notify('nebula_event', w.payload), pg_notify('nebula_agent', w.payload)
           FROM generate_series(1, 2000) AS n
          CROSS JOIN LATERAL (
                  VALUES ('nonsense ' || n),
                         (json_build_object('project', '{project}', 'subject', 'forged', 'id', n, 'action', 'forged',
                                            'event', 1000000 + n)::text),
                         (json_build_object('project', '{project}', 'subject', 'job', 'id', (1000000 + n)::text,
                                            'action', 'claim', 'event', NULL)::text),
                         (json_build_object('project', '{project}', 'subject', 'job', 'id', '', 'action', 'reset')::text),
                         (json_build_object('project', '{project}', 'version', 1000000 + n, 'device', NULL)::text),
                         (json_build_object('project', '{project}', 'version', n, 'device', '{device}')::text)
                ) AS w(payload)",
        project = stack.project,
        device = laptop.host,
    );
    stranger.execute(&forge, &[]).await?;
    let job: i64 = owner
        .query_one("SELECT nebula.enqueue_job('real', '{}', project_id => $1)", &[&stack.project])
        .await?
        .get(0);
    let mut heard = String::new();
    let real = format!("\"id\":\"{job}\"");
    let listening = async {
        // The flood is answered by a reset, which covers the job, or the job is told of itself.
        while !heard.contains(&real) && !heard.contains("event: reset") {
            heard.push_str(&String::from_utf8_lossy(&stream.chunk().await?.context("the stream has ended")?));
        }
        anyhow::Ok(())
    };
    timeout(EVENT_TIMEOUT, listening).await.context("nothing was heard")??;
    ensure!(!heard.contains("forged") && !heard.contains("\"id\":\"1000"), "{heard}");
    ensure!(heard.matches("event: reset").count() <= 2, "{heard}");
    let logged = lines()? - before;
    ensure!(logged < 20, "{logged} lines were logged:\n{}", fs::read_to_string(stack.log("gateway"))?);

    // Only a real change ends the wait.
    ensure!(!waiting.is_finished(), "a forged version woke an agent for good");
    owner.execute("UPDATE nebula.project SET mtu = 1400 WHERE project_id = $1", &[&stack.project]).await?;
    ensure!(timeout(EVENT_TIMEOUT, waiting).await???.contains("Update"));
    drop(stranger);
    owner.batch_execute(&format!("DROP ROLE {role}")).await?;
    Ok(())
}
