//! Pages, filters, following and export.

use std::time::Duration;

use nebula_api::Page;
use nebula_tests::EVENT_TIMEOUT;
use reqwest::Response;

use super::*;

async fn page(api: &Api, query: &str) -> Result<Page<Event>> {
    Ok(good(api.get(&format!("/api/events?{query}")).send().await?).await?.json().await?)
}

/// Reads events of a stream until it has this one.
async fn read_to(stream: &mut Response, action: &str) -> Result<Vec<Event>> {
    let mut text = String::new();
    let reading = async {
        loop {
            let whole = text.rfind("\n\n").unwrap_or(0);
            let lines = text[..whole].lines().filter_map(|line| line.strip_prefix("data: "));
            let events: Vec<Event> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
            if events.iter().any(|event| event.action == action) {
                return anyhow::Ok(events);
            }
            text += &String::from_utf8(stream.chunk().await?.context("the stream ended")?.to_vec())?;
        }
    };
    tokio::time::timeout(EVENT_TIMEOUT, reading).await.with_context(|| format!("no {action} came"))?
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_gets_each_event_once_also_of_a_transaction_that_was_open_longer() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, anna) = (stack.admin().await?, stack.member("anna").await?);
    let (slow, quick) = (stack.database.connect().await?, stack.database.connect().await?);
    let other = quick.query_one("SELECT nebula.create_project('other')", &[]).await?.get::<_, Uuid>(0);
    let record = |project: Uuid, action: &str| {
        format!("SELECT nebula.record_event('{project}', 'story', '{action}', 'device', 'x')")
    };
    // Takes its number first, and commits last.
    slow.batch_execute("BEGIN").await?;
    slow.batch_execute(&record(stack.project, "slow")).await?;
    let mut stream = good(anna.get("/api/events/follow?actor=story").send().await?).await?;
    quick.batch_execute(&record(stack.project, "quick")).await?;
    quick.batch_execute(&record(other, "elsewhere")).await?;
    let mut seen = read_to(&mut stream, "quick").await?;
    slow.batch_execute("COMMIT").await?;
    seen.extend(read_to(&mut stream, "slow").await?);
    let actions: Vec<_> = seen.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["quick", "slow"], "each once, and none of another project");

    // A client that comes back says what it has.
    let last = seen.iter().map(|event| event.event_id).max().context("no events")?;
    drop(stream);
    quick.batch_execute(&record(stack.project, "meanwhile")).await?;
    let back = admin.get("/api/events/follow?actor=story").header("Last-Event-ID", last.to_string());
    let mut stream = good(back.send().await?).await?;
    let seen = read_to(&mut stream, "meanwhile").await?;
    let actions: Vec<_> = seen.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["elsewhere", "meanwhile"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_export_bring_all_events_that_the_account_sees_and_no_others() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, anna) = (stack.admin().await?, stack.member("anna").await?);
    let database = stack.database.connect().await?;
    database
        .batch_execute(&format!(
            "SELECT nebula.create_project('other');
             INSERT INTO nebula.event (at, project_id, actor, action, subject, subject_id)
             SELECT now() - interval '1 minute' * (3000 - n), p.project_id, 'story', 'try', 'device', n::text
               FROM generate_series(1, 2500) n, nebula.project p WHERE n <= 1 OR p.project_id = '{}'",
            stack.project
        ))
        .await?;
    let mut numbers = Vec::new();
    let mut next = page(&anna, "actor=story&max=1000").await?;
    loop {
        numbers.extend(next.data.iter().map(|event| event.event_id));
        let Some(cursor) = next.next else { break };
        next = page(&anna, &format!("actor=story&max=1000&cursor={cursor}")).await?;
    }
    assert_eq!(numbers.len(), 2500);
    assert!(numbers.is_sorted_by(|one, other| one > other), "newest first");
    assert_eq!(page(&admin, "actor=story&subjectId=1").await?.data.len(), 2, "operators see all projects");

    let export = good(anna.get("/api/events/export?actor=story").send().await?).await?;
    assert_eq!(export.headers()["content-type"], "application/x-ndjson");
    let lines: Vec<i64> = export
        .text()
        .await?
        .lines()
        .map(|line| serde_json::from_str::<Event>(line).map(|event| event.event_id))
        .collect::<Result<_, _>>()?;
    numbers.reverse();
    assert_eq!(lines, numbers, "oldest first");

    let time = |minutes: i64| (chrono::Utc::now() - Duration::from_secs(60 * minutes as u64)).to_rfc3339();
    let (from, to) = (time(2_500).replace('+', "%2B"), time(2_000).replace('+', "%2B"));
    let shown = page(&anna, &format!("actor=story&max=1000&from={from}&to={to}")).await?.data.len();
    assert!((499..=501).contains(&shown), "{shown}");
    let refused = anna.get("/api/events?cursor=x").send().await?;
    assert_eq!(refused.status(), 400);
    let misspelt = anna.get("/api/events?actors=story").send().await?;
    assert_eq!(misspelt.status(), 400);
    Ok(())
}
