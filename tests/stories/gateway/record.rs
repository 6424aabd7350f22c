//! The record of events: each request that changes something leaves one that names account, object, address and
//! request; they are followed, exported, and kept from those whom they do not concern.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use nebula_api::auth::Identity;
use nebula_api::event::Event;
use nebula_tests::api::{Api, good};
use nebula_tests::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

mod follow;
mod routes;

/// Makes requests, and looks for the events that they leave.
struct Recorder {
    base: String,
    database: Client,
    project: Uuid,
    admin: Api,
    /// Identifiers of accounts, which requests that name a session do not name.
    accounts: String,
    requests: u32,
    covered: BTreeSet<String>,
}

/// A request without a body.
const NOTHING: Value = Value::Null;

impl Recorder {
    async fn new(stack: &Stack) -> Result<Self> {
        let (admin, anna) = (stack.admin().await?, stack.member("anna").await?);
        let mut accounts = String::new();
        for api in [&admin, &anna] {
            accounts += &api.read::<Identity>("/api/auth/me").await?.account_id.to_string();
        }
        Ok(Self {
            base: stack.url(),
            database: stack.database.connect().await?,
            project: stack.project,
            admin,
            accounts,
            requests: 0,
            covered: BTreeSet::new(),
        })
    }

    /// Makes a request of the route as the administrator; `path` is the route's with its parameters. The event must be
    /// of this kind of object and action, and name an object that is in the request or in its response.
    async fn leaves(&mut self, route: &str, path: &str, body: Value, event: &str) -> Result<Value> {
        let (method, _) = route.split_once(' ').context("no method")?;
        let request = reqwest::Client::new().request(method.parse()?, format!("{}{path}", self.base));
        let request = request.bearer_auth(&self.admin.tokens.access_token);
        let body_text = body.to_string();
        let request = if body.is_null() { request } else { request.json(&body) };
        self.sent(route, request, &format!("{path} {body_text}"), event, "admin").await
    }

    async fn sent(
        &mut self,
        route: &str,
        request: reqwest::RequestBuilder,
        names: &str,
        event: &str,
        actor: &str,
    ) -> Result<Value> {
        self.requests += 1;
        let id = format!("story-{:06}", self.requests);
        let response =
            good(request.header("X-Request-Id", &id).send().await?).await.context(route.to_owned())?;
        let response = response.text().await?;
        let sql = "SELECT subject || ' ' || action, subject_id, actor, actor_kind, actor_id IS NOT NULL, host(client)
                     FROM nebula.event WHERE request_id = $1";
        let events = self.database.query(sql, &[&id]).await?;
        let left: Vec<_> = events.iter().map(|row| row.get::<_, String>(0)).collect();
        let found = events.iter().find(|row| row.get::<_, String>(0) == event);
        let row = found.with_context(|| format!("{route} left {left:?}, and not \"{event}\""))?;
        let object: String = row.get(1);
        ensure!(
            !object.is_empty()
                && [names, &response, &self.accounts].iter().any(|text| text.contains(&object)),
            "{route}: nobody has named {object}: {names} {response}"
        );
        let who: (String, String, bool, Option<String>) = (row.get(2), row.get(3), row.get(4), row.get(5));
        let expected = (actor.to_owned(), "account".to_owned(), true, Some("127.0.0.1".to_owned()));
        ensure!(who == expected, "{route}: {who:?}");
        self.covered.insert(route.to_owned());
        Ok(serde_json::from_str(&response).unwrap_or_default())
    }

    /// One value of one row.
    async fn value(&self, sql: &str) -> Result<String> {
        let row = self.database.query_one(&format!("SELECT ({sql})::text"), &[]).await;
        row.with_context(|| sql.to_owned())?.get::<_, Option<String>>(0).with_context(|| sql.to_owned())
    }
}

/// A refusal is no change, and rolls back what its statement has written; the gateway records it afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_leaves_an_event_once_in_a_while() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, anna) = (stack.admin().await?, stack.member("anna").await?);
    let node = Uuid::new_v4();
    for _ in 0..3 {
        let refused = anna.delete(&format!("/api/nodes/{node}")).header("X-Request-Id", "story-refused");
        assert_eq!(refused.send().await?.status(), 403);
    }
    let events = nebula_tests::eventually("the refusal to be recorded", || async {
        let events: Vec<Event> = admin.read("/api/events?action=refuse").await?;
        Ok((!events.is_empty()).then_some(events))
    });
    let events = events.await?;
    let [event] = &events[..] else { anyhow::bail!("{events:?}") };
    assert_eq!((event.actor.as_str(), event.subject_id.as_str()), ("anna", "DELETE /api/nodes/{nodeId}"));
    assert_eq!(event.request_id.as_deref(), Some("story-refused"));
    assert!(event.detail["reason"].as_str().is_some_and(|reason| reason.contains("anna")), "{event:?}");
    let seen: Vec<Event> = anna.read("/api/events?action=refuse").await?;
    assert!(seen.is_empty(), "it is of no project, and so for operators: {seen:?}");
    Ok(())
}
