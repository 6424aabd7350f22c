//! `/openapi.json` describes every route, and is what it was.

use actix_web::http::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;

fn document() -> Value {
    openapi::document(Handlers::openapi(), &table())
}

#[test]
fn every_route_is_described_with_its_access() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    for entry in table() {
        let operation = &paths[&entry.path][entry.method.as_str().to_lowercase()];
        let needs_token = entry.access != Access::Anyone;
        assert_eq!(operation.get("security").is_some(), needs_token, "{}", entry.path);
        assert!(operation["responses"].get("default").is_some(), "{}", entry.path);
        let description = operation["description"].as_str().unwrap();
        assert!(description.ends_with(&format!("Who may call it: {}.", entry.access.description())));
    }
    let described: usize = paths.values().map(|item| item.as_object().unwrap().len()).sum();
    assert_eq!(described, table().len(), "an operation is described that is no route");
}

/// JSON with sorted keys, without the wording of descriptions.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let mut keys: Vec<_> = object.keys().collect();
            keys.sort();
            let kept = keys.into_iter().filter(|key| object[*key].is_object() || *key != "description");
            let members = kept.filter(|key| object[*key].is_object() || *key != "summary");
            let members: Vec<_> = members.map(|key| format!("{key:?}:{}", canonical(&object[key]))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// One line per operation and per schema: its name, who may call it, and a hash of everything else.
fn surface() -> String {
    let document = document();
    let hash = |value: &Value| hex::encode(&Sha256::digest(canonical(value))[..8]);
    let mut lines: Vec<_> = table()
        .iter()
        .map(|Entry { method, path, access, .. }| {
            let operation = &document["paths"][path][method.as_str().to_lowercase()];
            format!("{method} {path} {access:?} {}", hash(operation))
        })
        .collect();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    lines.extend(schemas.iter().map(|(name, schema)| format!("schema {name} {}", hash(schema))));
    lines.sort();
    lines.join("\n") + "\n"
}

/// A change of the HTTP interface must be intended: then write the file anew with
/// `NEBULA_WRITE_SURFACE=1`.
#[test]
fn the_interface_equals_the_stored_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi.surface");
    let surface = surface();
    if std::env::var_os("NEBULA_WRITE_SURFACE").is_some() {
        std::fs::write(path, &surface).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap();
    let changed: Vec<_> = surface
        .lines()
        .filter(|line| !stored.lines().any(|other| other == *line))
        .map(|line| format!("+ {line}"))
        .chain(
            stored
                .lines()
                .filter(|line| !surface.lines().any(|other| other == *line))
                .map(|line| format!("- {line}")),
        )
        .collect();
    assert!(
        changed.is_empty(),
        "the interface changed; if that is meant, write http/openapi.surface anew with \
         NEBULA_WRITE_SURFACE=1 make test T=the_interface_equals:\n{}",
        changed.join("\n")
    );
}

#[test]
fn every_reference_in_the_document_resolves() {
    let value = document();
    let text = value.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let pointer = reference.strip_prefix('#').unwrap_or(reference);
        assert!(value.pointer(pointer).is_some(), "{reference}");
    }
}

/// Operations as the document has them, with path and method.
fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

#[test]
fn each_operation_has_a_name_of_its_own() {
    let document = document();
    let mut names: Vec<_> =
        operations(&document).map(|(_, one)| one["operationId"].as_str().unwrap()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// The parameter of a path stands in it; a struct of a query without `parameter_in = Query` would be taken for more.
#[test]
fn parameters_of_the_path_are_those_in_braces() {
    let document = document();
    for (route, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let in_path: Vec<_> = parameters.filter(|one| one["in"] == "path").collect();
        assert_eq!(in_path.len(), route.matches('{').count(), "{route}");
        for parameter in in_path {
            assert!(route.contains(&format!("{{{}}}", parameter["name"].as_str().unwrap())), "{route}");
        }
    }
}

#[test]
fn numbers_that_choose_how_much_is_answered_have_bounds() {
    let document = document();
    for (route, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["name"] == "max" {
                assert!(parameter["schema"]["maximum"].is_number(), "{route}");
            }
        }
    }
}

#[test]
fn failures_have_one_form_and_each_route_says_how_it_refuses() {
    let document = document();
    for entry in table() {
        let responses = &document["paths"][&entry.path][entry.method.as_str().to_lowercase()]["responses"];
        let responses = responses.as_object().unwrap();
        assert_eq!(
            responses.contains_key("401"),
            entry.access != Access::Anyone || entry.path == "/api/shares/open"
        );
        for (status, response) in responses {
            let response =
                response["$ref"].as_str().map_or(response, |to| document.pointer(&to[1..]).unwrap());
            let schema = &response["content"]["application/json"]["schema"]["$ref"];
            let is_failure = status == "default" || status.as_str() >= "400";
            let own_form = entry.path.starts_with("/v") || entry.path.starts_with("/health");
            if is_failure && !own_form && entry.method != Method::HEAD {
                assert_eq!(
                    schema, "#/components/schemas/Failure",
                    "{} {} {status}",
                    entry.method, entry.path
                );
            }
        }
    }
}
