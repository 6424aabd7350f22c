//! JSON bodies: what `/openapi.json` says of fields that it does not describe is what the routes do with them.

use actix_web::App;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::domain::auth::token::Tokens;
use crate::state;

fn token(tokens: &Tokens) -> String {
    tokens.signer().access_token(Uuid::nil(), Uuid::nil(), ("anna", "admin")).unwrap()
}

/// A value of a schema, with what it requires.
fn example(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return example(document, document.pointer(&reference[1..]).unwrap());
    }
    if let Some(choices) = ["oneOf", "anyOf", "allOf"].iter().find_map(|kind| schema[kind].as_array()) {
        return example(document, choices.last().unwrap());
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match (kind, schema["enum"].as_array()) {
        (_, Some(choices)) => choices[0].clone(),
        (Some("object"), _) => required
            .map(|name| (name.to_owned(), example(document, &schema["properties"][name])))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        (Some("array"), _) => Value::Array(vec![example(document, &schema["items"])]),
        (Some("integer" | "number"), _) => 1.into(),
        (Some("boolean"), _) => true.into(),
        _ if schema["format"] == "date-time" => "2030-01-01T00:00:00Z".into(),
        _ => "0198c0de-0000-7000-8000-000000000000".into(),
    }
}

#[actix_web::test]
async fn a_body_described_without_other_fields_is_refused_with_one_and_its_name() {
    let (state, _folder) = state::tests::unconnected();
    let token = token(&state.tokens);
    let app = init_service(App::new().app_data(state).configure(configure)).await;
    let document = openapi::document(Handlers::openapi(), &table());
    let mut tried = 0;
    for entry in table() {
        let operation = &document["paths"][&entry.path][entry.method.as_str().to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        // Options have their names from the database, which is not connected here.
        if schema.is_null() || entry.path.ends_with("/configuration") {
            continue;
        }
        let resolved = schema["$ref"].as_str().map_or(schema, |to| document.pointer(&to[1..]).unwrap());
        let is_closed = resolved["additionalProperties"] == false;
        assert_eq!(is_closed, !openapi::is_foreign(&entry.path), "{}", entry.path);
        if !is_closed {
            continue;
        }
        let mut body = example(&document, schema);
        body["misspelt"] = Value::Null;
        let id = "0198c0de-0000-7000-8000-000000000000";
        let named = |part: &str| if part.starts_with('{') { id.to_owned() } else { part.to_owned() };
        let mut uri = entry.path.split('/').map(named).collect::<Vec<_>>().join("/");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|one| one["in"] == "query" && one["required"] == true) {
            let mark = if uri.contains('?') { '&' } else { '?' };
            uri += &format!("{mark}{}={id}", parameter["name"].as_str().unwrap());
        }
        let request = TestRequest::default().method(entry.method.clone()).uri(&uri);
        let request = request.insert_header(("authorization", format!("Bearer {token}")));
        let response = call_service(&app, request.set_json(&body).to_request()).await;
        let answer = read_body(response).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("misspelt"), "{} {}: {answer} of {body}", entry.method, entry.path);
        tried += 1;
    }
    assert!(tried > 12, "{tried}");
}
