//! Every route with every role: each is refused to those below the role that `/openapi.json` names, and to strangers, and
//! serves the others. A route without a line in the table of calls fails the test.

mod calls;
mod objects;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use nebula_tests::api::Api;
use nebula_tests::stack::Stack;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use calls::{CALLS, Call};
use objects::People;

/// Each may do what those before it may.
const ROLES: [&str; 6] = ["stranger", "viewer", "member", "admin", "owner", "operator"];

/// Routes for everybody are no part of the walk.
const ANYONE: &str = "anyone";

/// The rank of the least role that the documentation of a route names.
fn least(access: &str) -> Result<usize> {
    Ok(match access {
        "every account" => 0,
        "viewers of the project" | "viewers of the project, holders of a signed link" => 1,
        "members of the project" | "members of the project, holders of an enrolment code" => 2,
        "administrators of the project" | "the account that registered it, administrators of the project" => {
            3
        }
        "owners of the project" => 4,
        "operators" => 5,
        other => bail!("the walk does not know the access {other:?}"),
    })
}

/// The routes that need a token, as `METHOD /path`, with their access.
async fn routes(api: &Api) -> Result<Vec<(String, String)>> {
    let document: Value = api.anonymous("/openapi.json").send().await?.json().await?;
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().context("no paths")? {
        for (method, operation) in item.as_object().context("no operations")? {
            let said = operation["description"].as_str().unwrap_or_default();
            let (_, access) =
                said.rsplit_once("Who may call it: ").with_context(|| format!("{method} {path}: {said}"))?;
            let access = access.trim_end_matches('.');
            if access != ANYONE {
                routes.push((format!("{} {path}", method.to_uppercase()), access.to_owned()));
            }
        }
    }
    Ok(routes)
}

/// Whether an answer gives nothing away: a refusal, an empty list of what the caller sees, or that no file has changed.
async fn is_refusal(answer: Response) -> Result<bool> {
    if [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&answer.status()) {
        return Ok(true);
    }
    let is_stream = answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
    // It tells of projects that the caller sees, and ends when there are none any more.
    if is_stream {
        return Ok(true);
    }
    if !answer.status().is_success() {
        return Ok(false);
    }
    let text = answer.text().await?;
    let Ok(body) = serde_json::from_str::<Value>(&text) else { return Ok(text.is_empty()) };
    if body["data"]["files"] == 0 {
        return Ok(true);
    }
    // Batches answer item by item.
    let items = body["data"].as_array().map(Vec::as_slice);
    Ok(items.is_some_and(|items| items.iter().all(|item| item["error"]["sqlstate"].is_string())))
}

async fn walk(people: &mut People, call: &Call, least: usize) -> Result<()> {
    for (rank, role) in ROLES.iter().enumerate() {
        let request =
            people.request(call, role).await.with_context(|| format!("{} for {role}", call.route))?;
        let answer = request.send().await?;
        let status = answer.status();
        if rank < least {
            ensure!(is_refusal(answer).await?, "{} by {role}: {status}, and it is for more", call.route);
        } else {
            let served = status.as_u16() == call.status;
            ensure!(
                served,
                "{} by {role}: {status} instead of {}: {}",
                call.route,
                call.status,
                answer.text().await?
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_serves_the_roles_that_it_is_for_and_refuses_the_others() -> Result<()> {
    let stack = Stack::start().await?;
    let mut people = People::new(&stack).await?;
    let routes = routes(&people.of("operator")?.clone()).await?;
    let described: BTreeSet<_> = routes.iter().map(|(route, _)| route.as_str()).collect();
    let called: BTreeSet<_> = CALLS.iter().map(|call| call.route).collect();
    let missing: Vec<_> = described.difference(&called).collect();
    ensure!(missing.is_empty(), "which roles are these for? Add them to gateway/roles/calls.rs: {missing:?}");
    let gone: Vec<_> = called.difference(&described).collect();
    ensure!(gone.is_empty(), "these are no routes any more: {gone:?}");

    let mut faults = Vec::new();
    for call in CALLS {
        let (_, access) = routes.iter().find(|(route, _)| route == call.route).context("compared above")?;
        if let Err(fault) = walk(&mut people, call, least(access)?).await {
            faults.push(format!("{fault:#}"));
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}
