//! Long polls of agents: answered when something concerns them, through restarts of the gateway and of its
//! connection.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nebula_tests::stack::Stack;
use nebula_tests::{eventually, rounds};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::{enrolled, number};

const UPDATE_ACTIONS: [&str; 2] = ["DoUpdate", "DoConfigUpdate"];

/// The gateway's own count of waiting agents.
async fn waiting(stack: &Stack) -> Result<u64> {
    let text = reqwest::get(format!("{}/metrics", stack.url())).await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix("nebula_agents_waiting "));
    Ok(line.unwrap_or("0").parse::<f64>()? as u64)
}

async fn all_wait(stack: &Stack, wanted: u64) -> Result<()> {
    eventually("agents to wait", || async { Ok((waiting(stack).await? == wanted).then_some(())) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_ends_the_long_polls_it_concerns() -> Result<()> {
    let mut stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    let agents = [enrolled(&stack, "laptop").await?, enrolled(&stack, "phone").await?];
    let begin = |agent: &super::client::Agent| {
        let agent = agent.clone();
        tokio::spawn(async move { agent.wait(&UPDATE_ACTIONS).await })
    };

    // A change of the project wakes every agent.
    let waits: Vec<_> = agents.iter().map(begin).collect();
    all_wait(&stack, 2).await?;
    let begun = Instant::now();
    database.execute("UPDATE nebula.project SET mtu = 1400", &[]).await?;
    for wait in waits {
        assert_eq!(wait.await??, "DoConfigUpdate");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let agents = [agents[0].fetch("DoConfigUpdate").await?, agents[1].fetch("DoConfigUpdate").await?];

    // A change of a device wakes that device alone.
    let waits: Vec<_> = agents.iter().map(begin).collect();
    all_wait(&stack, 2).await?;
    let id: Uuid = agents[0].host.parse()?;
    database.execute("SELECT nebula.set_device_groups($1, '{web}')", &[&id]).await?;
    let [first, second]: [_; 2] = waits.try_into().unwrap();
    assert_eq!(first.await??, "DoUpdate");
    all_wait(&stack, 1).await?;

    // The gateway's listening connection breaks, and a change is committed meanwhile.
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name LIKE '%listener'";
    assert!(number(&database, cut).await? >= 1);
    database.execute("UPDATE nebula.project SET mtu = 1300", &[]).await?;
    assert_eq!(second.await??, "DoConfigUpdate");

    // The gateway stops: it ends the long polls, and the agents reconnect.
    let agent = agents[1].fetch("DoConfigUpdate").await?;
    let wait = begin(&agent);
    all_wait(&stack, 1).await?;
    let begun = Instant::now();
    assert_eq!(stack.stop_gateway()?, Some(0));
    assert_eq!(wait.await??, "NoOp");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    stack.start_gateway().await?;
    assert!(!agent.update_available().await?);
    Ok(())
}

/// Kilobytes of memory that the gateway holds.
fn memory(stack: &Stack) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stack.gateway_id()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim_end_matches("kB").trim().parse()?)
}

/// The number of long polls that one gateway must hold: each costs little memory, and all are answered in
/// time.
#[tokio::test(flavor = "multi_thread")]
async fn many_long_polls_cost_little_memory_and_end_together() -> Result<()> {
    let agents = rounds(500, 10_000);
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    ensure!(files > agents as u64 + 500, "{files} open files are too few: ulimit -n 65536");
    let stack = Stack::start().await?;
    let database = stack.database.connect().await?;
    // Many long polls of one device: waiting takes no other call's turn.
    let agent = enrolled(&stack, "laptop").await?;
    let place = stack.url().trim_start_matches("http://").to_owned();
    let body = agent.request("LongPollWait", &json!({ "supportedActions": UPDATE_ACTIONS }))?.to_string();
    let head =
        format!("POST /v1/dnclient HTTP/1.1\r\nHost: {place}\r\nContent-Length: {}\r\n\r\n", body.len());
    let request = head + &body;
    let mut connections = Vec::new();
    let (mut before, begun) = (0, Instant::now());
    while connections.len() < agents {
        // The first hundred allocate memory that is needed only once.
        if connections.len() == 100 {
            before = memory(&stack)?;
        }
        for _ in 0..100 {
            let mut connection = TcpStream::connect(&place).await?;
            connection.write_all(request.as_bytes()).await?;
            connections.push(connection);
        }
        all_wait(&stack, connections.len() as u64).await?;
    }
    ensure!(begun.elapsed() < Duration::from_secs(55), "the first have given up before the last came");
    let each = (memory(&stack)?.saturating_sub(before)) as f64 / (agents - 100) as f64;
    let begun = Instant::now();
    database.execute("UPDATE nebula.project SET mtu = 1400", &[]).await?;
    try_join_all(connections.iter_mut().map(|connection| async move {
        let mut answer = [0; 1024];
        let size = connection.read(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer[..size]);
        ensure!(text.contains("200 OK") && text.contains("DoConfigUpdate"), "{text}");
        Ok(())
    }))
    .await?;
    let took = begun.elapsed();
    println!("{agents} agents waited at {each:.1} kB each and were told within {took:?}");
    // 16 kB of it are the two buffers of the connection.
    assert!(each < 24.0, "{each} kB each");
    assert!(took < Duration::from_secs(5), "{took:?}");
    Ok(())
}
