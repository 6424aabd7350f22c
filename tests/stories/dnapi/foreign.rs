//! Everything that the open client can call is answered in its form, also what this gateway does not offer.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt;
use nebula_tests::binary::run;
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use reqwest::{Body, Client, StatusCode};
use serde_json::{Value, json};

use super::client::{Agent, post};
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

    let downloads: Value = reqwest::get(format!("{}/v1/downloads", stack.url())).await?.json().await?;
    ensure!(downloads["data"]["dnclient"].is_object(), "{downloads}");

    wait.abort();
    ensure!(agent.update_available().await?, "the device goes on as before");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_asks_to_be_let_in_gets_a_code_when_it_is_approved() -> Result<()> {
    let stack = Stack::start().await?;
    let (status, begun) = post(&stack.url(), "/v1/endpoint-auth/preauth", &json!(null)).await?;
    ensure!(status.is_success(), "{begun}");
    let word = |name: &str| begun["data"][name].as_str().map(str::to_owned).context("a field is missing");
    let (token, address) = (word("pollToken")?, word("loginURL")?);
    let poll = async |token: &str| {
        let url = format!("{}/v1/endpoint-auth/poll?pollToken={token}", stack.url());
        let answer = reqwest::get(url).await?;
        anyhow::Ok((answer.status(), answer.json::<Value>().await?))
    };
    let waiting = json!({ "data": { "state": "WAITING", "enrollmentCode": "" } });
    ensure!(poll(&token).await? == (StatusCode::OK, waiting));
    for wrong in ["", "a", &token[1..]] {
        let (status, answer) = poll(wrong).await?;
        ensure!(status == StatusCode::BAD_REQUEST && answer["errors"].is_array(), "{wrong}: {answer}");
    }
    ensure!(!address.contains(&token), "the administrator is not told the secret: {address}");

    let approve = || run(stack.ctl()?.args(["enrolment", "approve", &address, "--name", "phone"]));
    let member = stack.member("anna").await?;
    let request = address.split_once("approve=").context("no request")?.1;
    let body = json!({ "projectId": stack.project });
    let path = format!("/api/enrolments/approve?request={request}");
    ensure!(member.post(&path).json(&body).send().await?.status() == StatusCode::FORBIDDEN);
    ensure!(approve()?.contains("Approved"));
    let again = approve().unwrap_err().to_string();
    ensure!(again.contains("approved before"), "{again}");
    let (_, done) = poll(&token).await?;
    ensure!(done["data"]["state"] == "COMPLETED", "{done}");
    let code = done["data"]["enrollmentCode"].as_str().context("no code")?;
    let agent = Agent::enroll(&stack.url(), code).await?;
    ensure!(!agent.update_available().await?);
    let devices = run(stack.ctl()?.args(["device", "ls"]))?;
    ensure!(devices.contains("phone"), "{devices}");
    Ok(())
}
