//! `/openapi.json`: the description of every route, made from the handlers and the table of routes.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::ContentType;
use nebula_api::Failure;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};

use crate::routes::{self, Who};

const SCHEME: &str = "accessToken";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "pg_nebula",
        description = "Private overlay network and media cloud: accounts, devices, files, jobs."
    ),
    paths(
        crate::auth::login,
        crate::auth::refresh,
        crate::auth::logout,
        crate::auth::me,
        crate::device::ca,
        crate::device::register,
        crate::device::status,
        crate::device::release,
        crate::configuration::options,
        crate::configuration::set_options,
        crate::configuration::set_groups,
        crate::dnapi::enroll,
        crate::dnapi::call,
        crate::enrolment::create,
        crate::enrolment::list,
        crate::enrolment::revoke,
        crate::revocation::device,
        crate::revocation::status,
        crate::revocation::certificate,
        crate::firewall::rules,
        crate::firewall::add_rule,
        crate::firewall::drop_rule,
        crate::firewall::routes,
        crate::firewall::add_route,
        crate::firewall::drop_route,
        crate::project::list,
        crate::pool::list,
        crate::device::list,
        crate::certificate::list,
        crate::authority::list,
        crate::rotation::list,
        crate::rotation::begin,
        crate::rotation::force,
        crate::rotation::cancel,
        crate::node::list,
        crate::node::register,
        crate::node::tie,
        crate::node::secrets,
        crate::node::make_secret,
        crate::node::retire_secret,
        crate::job::list,
        crate::job::status,
        crate::job::cancel,
        crate::job::retry,
        crate::event::list,
        crate::event::watch,
        crate::upload::upload,
        crate::file::list,
        crate::file::show,
        crate::file::delete,
        crate::file::link,
        crate::file::content,
        crate::health::live,
        crate::health::ready,
        crate::metrics::show,
        show,
    ),
    components(schemas(Failure))
)]
struct Handlers;

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub async fn show() -> HttpResponse {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| document().to_json().expect("the document is made of plain strings and lists"));
    HttpResponse::Ok().content_type(ContentType::json()).body(TEXT.as_str())
}

/// The document: what the handlers say about themselves, and what the table of routes says about who may call them.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Handlers::openapi();
    if let Some(components) = &mut document.components {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        components.add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    }
    for entry in routes::table() {
        let item = document.paths.paths.get_mut(entry.path);
        let Some(operation) = item.and_then(|item| operation(item, &entry.method)) else { continue };
        if entry.who != Who::Anyone {
            let token = SecurityRequirement::new(SCHEME, Vec::<String>::new());
            operation.security = Some(vec![token]);
        }
        let caller = match entry.who {
            Who::Anyone => "anyone",
            Who::Member => "members of the project",
            Who::Owner => "the owner, administrators",
            Who::Admin => "administrators",
            Who::Joiner => "members of the project, holders of an enrolment code",
            Who::Link => "members of the project, holders of a signed link",
        };
        let about = operation.description.get_or_insert_default();
        about.push_str(&format!("\n\nWho may call it: {caller}."));
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
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let mut document = document();
        let mut described: usize = 0;
        for entry in routes::table() {
            // The console is for people, not for programs.
            if !["/api/", "/v1/", "/v2/", "/health/", "/metrics", "/openapi.json"]
                .iter()
                .any(|part| entry.path.starts_with(part))
            {
                continue;
            }
            let item = document.paths.paths.get_mut(entry.path);
            let found = item.and_then(|item| operation(item, &entry.method));
            let found = found.unwrap_or_else(|| panic!("{} {} is not described", entry.method, entry.path));
            assert_eq!(found.security.is_some(), entry.who != Who::Anyone, "{}", entry.path);
            assert!(found.responses.responses.contains_key("default"), "{}", entry.path);
            described += 1;
        }
        let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let written: usize = document
            .paths
            .paths
            .values_mut()
            .map(|item| methods.iter().filter(|method| operation(item, method).is_some()).count())
            .sum();
        assert_eq!(described, written, "something is described that is no route");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = document().to_json().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let pointer = reference.strip_prefix('#').unwrap_or(reference);
            assert!(value.pointer(pointer).is_some(), "{reference}");
        }
    }
}
