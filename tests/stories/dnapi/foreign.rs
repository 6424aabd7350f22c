//! Everything that the open client can call is answered in its form, also what this gateway does not offer.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use reqwest::{Body, Client, StatusCode};
use serde_json::{Value, json};

use super::client::{self, post};
use super::enrolled;

#[tokio::test(flavor = "multi_thread")]
async fn all_calls_of_the_open_client_are_answered_in_its_form() -> Result<()> {
    let stack = Stack::start().await?;
    let agent = enrolled(&stack, "laptop").await?;
    let address = "UPDATE nebula.project SET mtu = 1400";
    stack.database.connect().await?.execute(address, &[]).await?;

    // Go writes a slice that is nil as null: the client supports no action, and its wait is not refused.
    let request = agent.request("LongPollWait", &json!({ "supportedActions": null }))?;
    let waiting = agent.clone();
    let wait = tokio::spawn(async move { waiting.send(&request).await });

    let response = json!({ "responseToken": "token", "response": { "lines": 3 } });
    ensure!(agent.call("CommandResponse", &response).await? == json!({}));
    let bare = json!({ "responseToken": "token", "response": null });
    ensure!(agent.call("CommandResponse", &bare).await? == json!({}));

    // The output of a command follows its call in the same body, chunk by chunk.
    let call = agent.request("CommandResponse", &bare)?.to_string();
    let (half, rest) = call.split_at(call.len() / 2);
    let mut chunks = vec![half.to_owned(), rest.to_owned()];
    chunks.extend(
        (0..300).map(|number| format!("{{\"line\": {number}, \"text\": \"{}\"}}\n", "x".repeat(1000))),
    );
    let chunks = futures::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
    let streamed = Client::new().post(format!("{}/v1/dnclient", stack.url())).body(Body::wrap_stream(chunks));
    let answer = streamed.send().await?;
    ensure!(answer.status() == StatusCode::OK, "{}", answer.text().await?);
    ensure!(answer.json::<Value>().await? == json!({ "data": {} }));

    // A device holds a few such streams at the same time, so that it cannot hold every connection.
    let mut held = Vec::new();
    for _ in 0..4 {
        let call = agent.request("CommandResponse", &bare)?.to_string();
        let endless =
            futures::stream::iter([Ok::<_, std::io::Error>(call)]).chain(futures::stream::pending());
        let request = Client::new().post(format!("{}/v1/dnclient", stack.url()));
        held.push(tokio::spawn(request.body(Body::wrap_stream(endless)).send()));
    }
    eventually("a further stream to be refused", || async {
        let call = agent.request("CommandResponse", &bare)?.to_string() + "output";
        Ok((agent.send_with(call, &[]).await?.0 == StatusCode::TOO_MANY_REQUESTS).then_some(()))
    })
    .await?;
    held.iter().for_each(|stream| stream.abort());

    // Bytes behind a call of another type make it invalid, and a stream needs the device's signature.
    let call = agent.request("CheckForUpdate", &Value::Null)?.to_string() + "{}";
    ensure!(agent.send_with(call, &[]).await?.0 == StatusCode::BAD_REQUEST);
    let mut forged = agent.request("CommandResponse", &bare)?;
    forged["signature"] = BASE64_STANDARD.encode([0; 64]).into();
    ensure!(agent.send_with(forged.to_string() + "output", &[]).await?.0 == StatusCode::UNAUTHORIZED);

    let data = agent.call("Reauthenticate", &json!({})).await?;
    let message = BASE64_STANDARD.decode(data["message"].as_str().context("no message")?)?;
    let message: Value = serde_json::from_slice(&message)?;
    ensure!(message["loginURL"].as_str().is_some_and(|url| url.starts_with("http")), "{message}");
    ensure!(data["signature"].is_string(), "{data}");

    for (path, body) in [("/v1/endpoint-auth/preauth", json!(null))] {
        let (status, answer) = post(&stack.url(), path, &body).await?;
        ensure!(status == StatusCode::NOT_FOUND && !client::error(&answer).0.is_empty(), "{path}: {answer}");
    }
    let poll = reqwest::get(format!("{}/v1/endpoint-auth/poll?pollToken=a", stack.url())).await?;
    ensure!(poll.status() == StatusCode::NOT_FOUND && poll.json::<Value>().await?["errors"].is_array());
    let downloads: Value = reqwest::get(format!("{}/v1/downloads", stack.url())).await?.json().await?;
    ensure!(downloads["data"]["dnclient"].is_object(), "{downloads}");

    wait.abort();
    ensure!(agent.update_available().await?, "the device goes on as before");
    Ok(())
}
