//! Clients that are slow, or have many connections, keep nobody else out.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nebula_tests::api::refusal;
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use tokio::net::TcpSocket;

/// A request that promises more than it sends.
fn unfinished(stack: &Stack) -> Result<TcpStream> {
    promise(TcpStream::connect(stack.url().trim_start_matches("http://"))?)
}

/// The same from the address 127.0.0.`last`.
async fn unfinished_from(stack: &Stack, last: u8) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    let stream = socket.connect(stack.url().trim_start_matches("http://").parse()?).await?.into_std()?;
    stream.set_nonblocking(false)?;
    promise(stream)
}

fn promise(mut stream: TcpStream) -> Result<TcpStream> {
    let head = "POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                Content-Length: 1000\r\n\r\n{";
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

/// The words of the gateway before it closes the connection.
fn last_words(mut stream: TcpStream) -> Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut words = String::new();
    stream.read_to_string(&mut words)?;
    Ok(words)
}

/// Health is asked on a new connection each time.
async fn alive(stack: &Stack) -> Result<()> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
    let answer = http.get(format!("{}/health/live", stack.url())).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_unfinished_requests_keeps_nobody_out() -> Result<()> {
    let mut stack = Stack::start().await?;
    stack.restart_with(&[("NEBULA_BODY_SILENCE", "3600"), ("NEBULA_BODY_TIME", "3600")]).await?;
    let mut slow = Vec::new();
    for number in 0..1_500 {
        slow.push(unfinished(&stack)?);
        if number % 300 == 0 {
            alive(&stack).await?;
        }
    }
    alive(&stack).await?;
    stack.admin().await?;
    // The oldest were told that they made room.
    let words = last_words(slow.swap_remove(0))?;
    ensure!(words.starts_with("HTTP/1.1 408") && words.contains("hint"), "{words}");
    let soft = std::fs::read_to_string(format!("/proc/{}/limits", stack.gateway_id()?))?;
    let soft = soft.lines().find(|line| line.starts_with("Max open files")).context("no such limit")?;
    let [soft, hard]: [&str; 2] =
        soft.split_whitespace().skip(3).take(2).collect::<Vec<_>>().try_into().ok().context("no numbers")?;
    ensure!(soft == hard, "the gateway left its soft limit at {soft} of {hard}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_few_files_health_and_sign_in_answer_beside_a_crowd() -> Result<()> {
    let mut stack = Stack::start().await?;
    stack.stop_gateway()?;
    stack.set("NEBULA_BODY_SILENCE", "3600");
    stack.limit_files(200, 256);
    stack.start_gateway().await?;
    let mut slow = Vec::new();
    // From several addresses, whose shares add up to more than there is.
    for number in 0..600 {
        slow.push(unfinished_from(&stack, 2 + number as u8 % 5).await?);
        if number % 100 == 0 {
            alive(&stack).await?;
        }
    }
    alive(&stack).await?;
    stack.admin().await?;
    let said = std::fs::read_to_string(stack.log("gateway"))?;
    ensure!(said.contains("few open files are allowed"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_ends_after_a_silence_and_after_a_time() -> Result<()> {
    let mut stack = Stack::start().await?;
    stack.restart_with(&[("NEBULA_BODY_SILENCE", "1"), ("NEBULA_BODY_TIME", "3")]).await?;
    let begun = Instant::now();
    let words = last_words(unfinished(&stack)?)?;
    ensure!(words.starts_with("HTTP/1.1 408") && words.contains("NEBULA_BODY_SILENCE"), "{words}");
    ensure!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // A byte now and then is no silence, so the time ends it.
    stack.restart_with(&[("NEBULA_BODY_SILENCE", "3600"), ("NEBULA_BODY_TIME", "3")]).await?;
    let mut dripping = unfinished(&stack)?;
    let listening = dripping.try_clone()?;
    let dripped = std::thread::spawn(move || {
        let mut count = 0;
        while dripping.write_all(b" ").is_ok() {
            count += 1;
            std::thread::sleep(Duration::from_millis(300));
        }
        count
    });
    let words = last_words(listening)?;
    ensure!(words.starts_with("HTTP/1.1 408"), "{words}");
    let count = dripped.join().expect("it ends with the connection");
    ensure!(count > 1, "only {count} bytes were sent before the end");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_a_share_of_event_streams_and_of_registrations() -> Result<()> {
    let mut stack = Stack::start().await?;
    stack.restart_with(&[("NEBULA_REGISTRATIONS_PER_MINUTE", "2")]).await?;
    let (anna, admin) = (stack.member("stream-reader").await?, stack.admin().await?);
    let mut streams = Vec::new();
    for _ in 0..32 {
        let stream = anna.get("/api/stream").send().await?;
        ensure!(stream.status().is_success(), "{}", stream.status());
        streams.push(stream);
    }
    let refused = refusal(anna.get("/api/stream").send().await?).await?;
    ensure!(refused.status == StatusCode::TOO_MANY_REQUESTS && refused.failure.hint.is_some(), "{refused:?}");
    ensure!(admin.get("/api/stream").send().await?.status().is_success(), "a neighbour is not affected");
    drop(streams);
    nebula_tests::eventually("streams that were closed to be free", || async {
        Ok(anna.get("/api/stream").send().await?.status().is_success().then_some(()))
    })
    .await?;
    // Opening a stream as a member is no error, so the server has nothing to log.
    let log = nebula_tests::cluster::Cluster::shared().await?.log()?;
    ensure!(
        !log.contains("account \"stream-reader\" is not an administrator"),
        "the server logged each stream"
    );
    for (number, status) in [(1, 200), (2, 200), (3, 429)] {
        if number == 2 {
            // A new gateway begins where the last one stopped.
            stack.restart_with(&[]).await?;
        }
        let body = serde_json::json!({
            "projectId": stack.project, "deviceId": uuid::Uuid::new_v4(),
            "deviceName": format!("device-{number}"), "publicKey": hex::encode([number; 32]),
        });
        let answer = anna.post("/api/nebula/register").json(&body).send().await?;
        ensure!(answer.status().as_u16() == status, "{number}: {}", answer.text().await?);
        let wait =
            answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
        ensure!(wait.is_some_and(|seconds| (1..=61).contains(&seconds)) == (status == 429), "{wait:?}");
    }
    let admin = stack.database.connect().await?;
    let event = "SELECT e.detail ->> 'limit' FROM nebula.event e JOIN nebula.account a ON a.account_id::text = e.subject_id
                  WHERE e.action = 'limit' AND a.username = 'stream-reader'";
    let limited: String = admin.query_one(event, &[]).await?.get(0);
    ensure!(limited == "registrations", "{limited}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_as_get_without_the_body() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    for path in [
        "/api/devices",
        "/api/projects",
        "/api/auth/me",
        "/health/live",
        "/openapi.json",
        "/v1/downloads",
        "/",
    ] {
        let (get, head) = (api.get(path).send().await?, api.head(path).send().await?);
        let length = |answer: &reqwest::Response| answer.headers().get("content-length").cloned();
        ensure!(head.status() == get.status() && get.status().is_success(), "{path}: {}", head.status());
        ensure!(length(&head).is_some() && length(&head) == length(&get), "{path}: {:?}", head.headers());
        ensure!(head.bytes().await?.is_empty(), "{path}");
    }
    // A stream has no length and would never end.
    ensure!(api.head("/api/stream").send().await?.status().is_success());
    ensure!(api.head("/api/auth/login").send().await?.status() == StatusCode::METHOD_NOT_ALLOWED);
    Ok(())
}
