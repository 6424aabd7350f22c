//! `/openapi.json`: the documentation of every route, made from the handlers and the table of routes.

mod closed;
mod failure;

use actix_web::http::Method;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr, ResponseBuilder};

use super::route::{Access, Entry};

const SCHEME: &str = "accessToken";

/// The text of `/openapi.json`.
pub(crate) struct Document(web::Bytes);

impl Document {
    pub(crate) fn new(handlers: OpenApi, table: &[Entry]) -> Self {
        Self(document(handlers, table).to_string().into())
    }
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(crate) async fn show(document: web::Data<Document>) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(document.0.clone())
}

/// Adds to the documentation of the handlers what the table says: the name of each route, who may call it, and by which
/// failures it is refused; and that bodies have no other fields.
pub(super) fn document(mut handlers: OpenApi, table: &[Entry]) -> Value {
    let components = handlers.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    components.responses.extend(failure::components());
    for entry in table {
        let item = handlers.paths.paths.get_mut(&entry.path);
        if let Some(operation) = item.and_then(|item| operation(item, &entry.method)) {
            complete(operation, entry);
        }
    }
    let document = serde_json::to_value(handlers);
    let mut document = document.expect("the document is made of plain strings and lists");
    closed::close_bodies(&mut document);
    document
}

/// Whether bodies of this route may have fields that are not described.
#[cfg(test)]
pub(super) fn is_foreign(path: &str) -> bool {
    closed::FOREIGN.contains(&path)
}

fn complete(operation: &mut Operation, entry: &Entry) {
    operation.operation_id = Some(entry.name.clone());
    let token = SecurityRequirement::new(SCHEME, Vec::<String>::new());
    operation.security = match entry.access {
        Access::Anyone => None,
        // A code in the body is enough.
        Access::MemberOrCode => Some(vec![token, SecurityRequirement::default()]),
        _ => Some(vec![token]),
    };
    let description = operation.description.get_or_insert_default();
    description.push_str(&format!("\n\nWho may call it: {}.", entry.access.description()));
    failure::add(operation, entry);
    let answers_json = match operation.responses.responses.get("200") {
        Some(RefOr::T(response)) => response.content.contains_key("application/json"),
        _ => false,
    };
    if entry.method == Method::GET && answers_json {
        let known =
            ResponseBuilder::new().description("The client has it, as its If-None-Match says").build();
        operation.responses.responses.insert("304".to_owned(), known.into());
    }
}

fn operation<'a>(item: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    match *method {
        Method::GET => item.get.as_mut(),
        Method::HEAD => item.head.as_mut(),
        Method::POST => item.post.as_mut(),
        Method::PUT => item.put.as_mut(),
        Method::PATCH => item.patch.as_mut(),
        Method::DELETE => item.delete.as_mut(),
        Method::OPTIONS => item.options.as_mut(),
        _ => None,
    }
}
