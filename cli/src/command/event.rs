//! `events`: the record of who did what.

use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use clap::Args;
use futures::StreamExt;
use nebula_api::event::Event;
use reqwest::Method;
use serde_json::Value;
use tokio::time::sleep;

use super::lifetime::parse_start;
use super::project;
use crate::client::Client;
use crate::context::Context;
use crate::error::Result;
use crate::output::{Output, clean};

/// Pause before a stream that ended is opened again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(crate) struct Events {
    /// Go on showing events as they happen, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Only events since then: 30m, 2h, 7d, 2027-01-31, 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_start)]
    since: Option<DateTime<Utc>>,
    /// Only events before then
    #[arg(long, value_name = "TIME", value_parser = parse_start)]
    until: Option<DateTime<Utc>>,
    /// Only what this account, part of the system or role of the database did
    #[arg(long)]
    actor: Option<String>,
    /// Only this action, such as register or login-failed
    #[arg(long)]
    action: Option<String>,
    /// Only events of this kind of object, such as device or account
    #[arg(long)]
    subject: Option<String>,
    /// Only events of the object with this identifier
    #[arg(long)]
    id: Option<String>,
    /// Number of events at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    max: u16,
    /// Only events of this project, by name or id
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
}

pub(crate) async fn run(context: &Context, arguments: Events) -> Result<()> {
    let (client, output) = (context.client()?, context.output);
    let mut query = Vec::new();
    if let Some(project) = arguments.project {
        query.push(("projectId", project::named(&client, &project).await?.project_id.to_string()));
    }
    let texts = [
        ("actor", arguments.actor),
        ("action", arguments.action),
        ("subject", arguments.subject),
        ("subjectId", arguments.id),
        ("from", arguments.since.map(|time| time.to_rfc3339())),
        ("to", arguments.until.map(|time| time.to_rfc3339())),
    ];
    query.extend(texts.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let mut listed = query.clone();
    listed.push(("max", arguments.max.to_string()));
    let mut events: Vec<Event> = client.get("/api/events", &listed).await?;
    // The last line is the newest event, next to which what follows appears.
    events.reverse();
    if !arguments.follow {
        return output.show(&events, || table(output, &events));
    }
    for event in &events {
        show(output, event)?;
    }
    follow(&client, output, &query, events.last().map(|event| event.event_id)).await
}

/// Shows events after this one as they happen; begins again after the last when the stream ends.
async fn follow(
    client: &Client,
    output: Output,
    query: &[(&str, String)],
    mut last: Option<i64>,
) -> Result<()> {
    loop {
        let build = || {
            let request = client.request(Method::GET, "/api/events/follow").query(query);
            Ok(match last {
                Some(last) => request.query(&[("after", last)]),
                None => request,
            })
        };
        let mut chunks = client.send(build).await?.bytes_stream();
        let mut frames = Frames::default();
        while let Some(Ok(chunk)) = chunks.next().await {
            for event in frames.add(&chunk) {
                show(output, &event)?;
                last = last.max(Some(event.event_id));
            }
        }
        sleep(RETRY_PAUSE).await;
    }
}

/// Events of a stream that arrives in pieces of any length.
#[derive(Default)]
struct Frames {
    rest: Vec<u8>,
}

impl Frames {
    fn add(&mut self, chunk: &[u8]) -> Vec<Event> {
        self.rest.extend_from_slice(chunk);
        let whole = self.rest.windows(2).rposition(|pair| pair == b"\n\n").map_or(0, |end| end + 2);
        let frames: Vec<u8> = self.rest.drain(..whole).collect();
        let lines = frames.split(|byte| *byte == b'\n');
        lines.filter_map(|line| serde_json::from_slice(line.strip_prefix(b"data: ")?).ok()).collect()
    }
}

/// One event, on a line of its own.
fn show(output: Output, event: &Event) -> Result<()> {
    if output.json {
        let line = serde_json::to_string(event).unwrap_or_default();
        return output.line(&line);
    }
    let [when, actor, did, object, client, detail] = row(event);
    let from = if client == "-" { String::new() } else { format!(" from {client}") };
    output.line(format!("{when}  {actor}  {did}  {object}{from}  {detail}").trim_end())
}

fn table(output: Output, events: &[Event]) -> String {
    if events.is_empty() {
        return "No such events.".to_owned();
    }
    output.table(["WHEN", "WHO", "DID", "TO", "FROM", "DETAIL"], events.iter().map(row).collect())
}

fn row(event: &Event) -> [String; 6] {
    let when = event.at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string();
    let actor = match event.actor_kind.as_str() {
        "login" => format!("{} (SQL)", event.actor),
        _ => event.actor.clone(),
    };
    let name = ["name", "username"].iter().find_map(|field| event.detail.get(field)?.as_str());
    let object = name.map_or_else(|| event.subject_id.clone(), str::to_owned);
    let client = event.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
    let detail = detail(&event.detail);
    [
        when,
        clean(&actor),
        clean(&event.action),
        clean(&format!("{} {object}", event.subject)),
        client,
        clean(&detail),
    ]
}

/// The details in one line: of a change what it was and what it is.
fn detail(detail: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Some(fields) = detail.as_object() else { return String::new() };
    let (before, after) = (fields.get("before"), fields.get("after"));
    let changes = match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => after
            .iter()
            .map(|(name, value)| match before.get(name).filter(|value| !value.is_null()) {
                Some(former) => format!("{name}: {} → {}", text(former), text(value)),
                None => format!("{name}: {}", text(value)),
            })
            .collect(),
        (Some(before), Some(after)) => vec![format!("{} → {}", text(before), text(after))],
        (None, Some(after)) => vec![text(after)],
        _ => Vec::new(),
    };
    let others = fields.iter().filter(|(name, value)| {
        !["name", "username", "before", "after"].contains(&name.as_str()) && !value.is_null()
    });
    let others = others.map(|(name, value)| format!("{name}: {}", text(value)));
    changes.into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_shown_as_what_was_and_what_is() {
        let change =
            json!({"name": "n", "before": {"weight": 100, "new": null}, "after": {"weight": 50, "new": "x"}});
        assert_eq!(detail(&change), "new: x, weight: 100 → 50");
        assert_eq!(detail(&json!({"before": "viewer", "after": "owner"})), "viewer → owner");
        assert_eq!(detail(&json!({"after": "viewer"})), "viewer");
        assert_eq!(detail(&json!({"ip": "10.0.0.1", "reason": null})), "ip: 10.0.0.1");
        assert_eq!(detail(&Value::Null), "");
    }

    #[test]
    fn events_are_read_wherever_the_stream_is_cut() {
        let event = |id: i64| {
            json!({"eventId": id, "at": "2027-01-31T12:00:00Z", "projectId": null, "actor": "anna", "action": "login",
                   "subject": "account", "subjectId": "x", "detail": {}})
        };
        let stream = format!(
            ": ping\n\nid: 1\nevent: event\ndata: {}\n\nid: 2\nevent: event\ndata: {}\n\n",
            event(1),
            event(2)
        );
        for size in [1, 7, 100, stream.len()] {
            let mut frames = Frames::default();
            let read: Vec<_> = stream.as_bytes().chunks(size).flat_map(|chunk| frames.add(chunk)).collect();
            assert_eq!(read.iter().map(|event| event.event_id).collect::<Vec<_>>(), [1, 2], "{size}");
        }
    }
}
