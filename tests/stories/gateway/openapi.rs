//! `/openapi.json` is valid, and the gateway answers as it says, whatever it is asked.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use nebula_api::device::RegisterRequest;
use nebula_tests::binary::openapi_tool;
use nebula_tests::stack::Stack;
use serde_json::{Value, json};
use uuid::Uuid;

/// Requests that the gateway gets at most, per operation, beside those at the edges of each schema.
const EXAMPLES: &str = "12";
const SECONDS: &str = "50";

/// Operations that are left out: streams that never end, those that may end the session or the account of the test, and
/// one whose body the tool cannot make.
const LEFT_OUT: [&str; 8] = [
    "event_watch",
    "event_follow",
    "auth_logout",
    "session_end",
    "session_end_others",
    "account_change",
    "account_delete",
    "tus_append",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_a_valid_openapi_document() -> Result<()> {
    let stack = Stack::start().await?;
    let document = stack.path("openapi.json");
    let text = stack.admin().await?.get("/openapi.json").send().await?.error_for_status()?.text().await?;
    fs::write(&document, text)?;
    let judge = openapi_tool("openapi-spec-validator")?;
    let judged = Command::new(judge).args(["--validation-errors", "all"]).arg(&document).output()?;
    let said = [judged.stdout, judged.stderr].concat();
    ensure!(judged.status.success(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}

/// Lets parameters and fields of these names have a value that exists, beside any other.
fn offer(part: &mut Value, known: &BTreeMap<&str, String>) {
    match part {
        Value::Object(members) => {
            if let Some(value) = members.get("name").and_then(Value::as_str).and_then(|name| known.get(name))
                && members.contains_key("in")
            {
                let value = value.clone();
                members.insert("schema".to_owned(), one_of(&value));
            }
            if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
                for (name, value) in known {
                    if let Some(property) = properties.get_mut(*name) {
                        *property = one_of(value);
                    }
                }
            }
            members.values_mut().for_each(|member| offer(member, known));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| offer(item, known)),
        _ => {}
    }
}

fn one_of(value: &str) -> Value {
    json!({"type": "string", "format": "uuid", "enum": [value, Uuid::nil()]})
}

#[tokio::test(flavor = "multi_thread")]
async fn any_request_is_answered_as_described_and_none_makes_the_gateway_fail() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let device_id = Uuid::new_v4();
    api.register(&RegisterRequest {
        project_id: stack.project,
        device_id,
        device_name: "laptop".into(),
        public_key: hex::encode([7; 32]),
        role: None,
        endpoints: vec![],
        enrolment_code: None,
    })
    .await?;
    let mut document: Value = api.get("/openapi.json").send().await?.json().await?;
    let known =
        BTreeMap::from([("projectId", stack.project.to_string()), ("deviceId", device_id.to_string())]);
    // Only of what is asked: answers have other identifiers, too.
    for item in document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            if let Some(parameters) = operation.get_mut("parameters") {
                offer(parameters, &known);
            }
        }
    }
    let path = stack.path("offered.json");
    fs::write(&path, document.to_string())?;
    let mut judge = Command::new(openapi_tool("schemathesis")?);
    judge
        .arg("run")
        .arg(&path)
        .args(["--url", &stack.url(), "--seed", "1", "--workers", "2", "--no-color"])
        .args(["--max-examples", EXAMPLES, "--max-time", SECONDS, "--phases", "examples,coverage,fuzzing"])
        .args(["--continue-on-failure", "--request-timeout", "20", "--suppress-health-check", "all"])
        .args(["--exclude-checks", "positive_data_acceptance,use_after_free,ensure_resource_availability"])
        .args(["--header", &format!("Authorization: Bearer {}", api.tokens.access_token)])
        .args(LEFT_OUT.iter().flat_map(|name| ["--exclude-operation-id", name]))
        .current_dir(stack.path(""));
    let judged = judge.output()?;
    ensure!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    let me = api.get("/api/auth/me").send().await?.status();
    ensure!(me.is_success(), "the requests were refused, because their session has ended: {me}");
    let log = fs::read_to_string(stack.log("gateway"))?;
    ensure!(!log.contains("internal error"), "{log}");
    Ok(())
}
