//! Says of request bodies that fields which are not described are refused, as [`Object`](crate::http::object::Object)
//! does.

use serde_json::{Value, json};

/// Routes whose clients are not developed together with the gateway, and may send fields that it does not know.
pub(super) const FOREIGN: [&str; 3] = ["/api/nebula/register", "/v1/dnclient", "/v2/enroll"];

const SCHEMAS: &str = "#/components/schemas/";

/// Closes the schemas of JSON bodies, and of what these contain. Answers that have the same schema are closed, too.
pub(super) fn close_bodies(document: &mut Value) {
    let mut open: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        if FOREIGN.contains(&path.as_str()) {
            continue;
        }
        for operation in item.as_object().into_iter().flat_map(|item| item.values()) {
            references(&operation["requestBody"]["content"]["application/json"], &mut open);
        }
    }
    let mut at = 0;
    while let Some(name) = open.get(at).cloned() {
        let schema = &mut document["components"]["schemas"][&name];
        close(schema);
        references(schema, &mut open);
        at += 1;
    }
}

/// Adds the names of schemas that a part of the document refers to.
fn references(part: &Value, names: &mut Vec<String>) {
    match part {
        Value::Object(members) => {
            let name = members.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix(SCHEMAS));
            if let Some(name) = name.filter(|name| !names.iter().any(|known| known == name)) {
                names.push(name.to_owned());
            }
            members.values().for_each(|member| references(member, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        _ => {}
    }
}

/// An object with described fields has no others; one without them is a map.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
