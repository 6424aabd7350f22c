//! `/openapi.json`: the documentation of every route, made from the handlers and the table of routes.

mod closed;

use actix_web::http::Method;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde_json::Value;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};

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

/// Adds to the documentation of the handlers what the table says, which is who may call each route, and that bodies
/// have no other fields.
pub(super) fn document(handlers: OpenApi, table: &[Entry]) -> Value {
    let document = serde_json::to_value(with_access(handlers, table));
    let mut document = document.expect("the document is made of plain strings and lists");
    closed::close_bodies(&mut document);
    document
}

/// Whether bodies of this route may have fields that are not described.
#[cfg(test)]
pub(super) fn is_foreign(path: &str) -> bool {
    closed::FOREIGN.contains(&path)
}

fn with_access(mut document: OpenApi, table: &[Entry]) -> OpenApi {
    if let Some(components) = &mut document.components {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        components.add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    }
    for entry in table {
        let item = document.paths.paths.get_mut(&entry.path);
        let Some(operation) = item.and_then(|item| operation(item, &entry.method)) else { continue };
        if entry.access != Access::Anyone {
            let token = SecurityRequirement::new(SCHEME, Vec::<String>::new());
            operation.security = Some(vec![token]);
        }
        let description = operation.description.get_or_insert_default();
        description.push_str(&format!("\n\nWho may call it: {}.", entry.access.description()));
        let failure = ContentBuilder::new().schema(Some(Ref::from_schema_name("Failure"))).build();
        let response =
            ResponseBuilder::new().description("Failed").content("application/json", failure).build();
        operation.responses.responses.insert("default".to_owned(), response.into());
    }
    document
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
