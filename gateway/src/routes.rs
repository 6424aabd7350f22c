//! Every URL with who may call it. A handler enforces the first half of it by taking an [`Actor`](crate::auth::Actor);
//! the SQL function it calls enforces the rest, so that a mistake here cannot cross projects.

use actix_web::dev::Handler;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder, Route, web};

use crate::{
    auth, authority, certificate, configuration, device, dnapi, enrolment, error, event, file, firewall,
    health, job, metrics, node, openapi, pool, project, revocation, rotation, upload,
};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everyone, without a token.
    Anyone,
    /// Whoever is signed in; the projects they are a member of, administrators all.
    Member,
    /// Whoever registered the thing, and administrators.
    Owner,
    /// Administrators.
    Admin,
    /// A member, or whoever holds an enrolment code.
    Joiner,
    /// A member, or whoever holds a signed link to it.
    Link,
}

/// A line of the table.
pub struct Entry {
    /// Method.
    pub method: Method,
    /// Path with its parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub who: Who,
    route: Route,
}

/// Writes a line of the table as method, path, caller, handler.
macro_rules! routes {
    ($($method:ident $path:literal $who:ident $handler:path;)*) => {
        vec![$(entry(Method::$method, $path, Who::$who, $handler)),*]
    };
}

/// The table.
#[rustfmt::skip]
pub fn table() -> Vec<Entry> {
    routes! {
        POST   "/api/auth/login"                 Anyone auth::login;
        POST   "/api/auth/refresh"               Anyone auth::refresh;
        POST   "/api/auth/logout"                Anyone auth::logout;
        GET    "/api/auth/me"                    Member auth::me;

        GET    "/api/nebula/ca"                  Anyone device::ca;
        POST   "/api/nebula/register"            Joiner device::register;
        GET    "/api/nebula/status/{deviceId}"   Owner  device::status;
        POST   "/api/nebula/release/{deviceId}"  Admin  device::release;

        POST   "/v2/enroll"                      Anyone dnapi::enroll;
        POST   "/v1/dnclient"                    Anyone dnapi::call;
        POST   "/api/enrolments"                 Admin  enrolment::create;
        GET    "/api/enrolments"                 Admin  enrolment::list;
        DELETE "/api/enrolments/{id}"            Admin  enrolment::revoke;
        GET    "/api/projects/{projectId}/configuration" Member configuration::options;
        PATCH  "/api/projects/{projectId}/configuration" Admin configuration::set_options;
        PUT    "/api/devices/{deviceId}/groups"  Admin  configuration::set_groups;
        POST   "/api/devices/{deviceId}/revoke"  Admin  revocation::device;
        GET    "/api/devices/{deviceId}/revocation" Admin revocation::status;
        POST   "/api/certificates/{fingerprint}/revoke" Admin revocation::certificate;
        GET    "/api/firewall"                   Member firewall::rules;
        POST   "/api/firewall"                   Admin  firewall::add_rule;
        DELETE "/api/firewall/{rule}"            Admin  firewall::drop_rule;
        GET    "/api/routes"                     Member firewall::routes;
        POST   "/api/routes"                     Admin  firewall::add_route;
        DELETE "/api/routes"                     Admin  firewall::drop_route;

        GET    "/api/projects"                   Member project::list;
        GET    "/api/pools"                      Member pool::list;
        GET    "/api/devices"                    Member device::list;
        GET    "/api/certificates"               Member certificate::list;
        GET    "/api/authorities"                Admin  authority::list;
        GET    "/api/rotations"                  Admin  rotation::list;
        POST   "/api/rotations"                  Admin  rotation::begin;
        POST   "/api/rotations/{projectId}/force"   Admin rotation::force;
        POST   "/api/rotations/{projectId}/cancel"  Admin rotation::cancel;
        GET    "/api/nodes"                      Admin  node::list;
        POST   "/api/nodes"                      Admin  node::register;
        PUT    "/api/nodes/{nodeId}/device"      Admin  node::tie;
        GET    "/api/nodes/{nodeId}/secret"      Admin  node::secrets;
        POST   "/api/nodes/{nodeId}/secret"      Admin  node::make_secret;
        DELETE "/api/nodes/{nodeId}/secret"      Admin  node::retire_secret;
        GET    "/api/jobs"                       Member job::list;
        GET    "/api/jobs/{id}"                  Member job::status;
        POST   "/api/jobs/{id}/cancel"           Member job::cancel;
        POST   "/api/jobs/{id}/retry"            Member job::retry;

        GET    "/api/events"                     Member event::list;
        GET    "/api/stream"                     Member event::watch;

        POST   "/api/files"                      Member upload::upload;
        GET    "/api/files"                      Member file::list;
        GET    "/api/files/{id}"                 Member file::show;
        DELETE "/api/files/{id}"                 Member file::delete;
        POST   "/api/files/{id}/link"            Member file::link;
        GET    "/api/files/{id}/content"         Link   file::content;
        HEAD   "/api/files/{id}/content"         Link   file::content;

        GET    "/health/live"                    Anyone health::live;
        GET    "/health/ready"                   Anyone health::ready;
        GET    "/metrics"                        Anyone metrics::show;
        GET    "/openapi.json"                   Anyone openapi::show;
    }
}

/// Puts the table into an application; a method that a path does not have is a 405 that names those it has.
pub fn configure(config: &mut web::ServiceConfig) {
    let mut entries = table();
    while let Some(first) = entries.first() {
        let path = first.path;
        let (here, rest): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.path == path);
        entries = rest;
        let allowed: Vec<_> = here.iter().map(|entry| entry.method.to_string()).collect();
        let allowed = allowed.join(", ");
        let resource = web::resource(path).default_service(web::to(move |request: HttpRequest| {
            let refusal = error::method_not_allowed(&request, &allowed);
            async move { Err::<HttpResponse, _>(refusal) }
        }));
        config.service(here.into_iter().fold(resource, |resource, entry| resource.route(entry.route)));
    }
}

fn entry<F, Args>(method: Method, path: &'static str, who: Who, handler: F) -> Entry
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Entry { route: web::method(method.clone()).to(handler), method, path, who }
}

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, http::StatusCode};

    use super::*;
    use crate::state;

    /// Without a database: whoever has no token is refused before anything is asked of it, and nobody else is.
    #[actix_web::test]
    async fn every_route_that_needs_a_token_refuses_whoever_has_none() {
        let (state, _folder) = state::tests::unconnected();
        let app = init_service(App::new().app_data(state).configure(configure)).await;
        for entry in table() {
            let uri = entry.path.replace("{projectId}", "0198c0de-0000-7000-8000-000000000000");
            let uri = uri.replace("{deviceId}", "0198c0de-0000-7000-8000-000000000000");
            let uri = uri.replace("{nodeId}", "0198c0de-0000-7000-8000-000000000000");
            let uri = uri.replace(
                "{id}",
                if uri.contains("/jobs/") { "1" } else { "0198c0de-0000-7000-8000-000000000000" },
            );
            let request = TestRequest::default().method(entry.method.clone()).uri(&uri);
            let response = call_service(&app, request.to_request()).await;
            let refused = response.status() == StatusCode::UNAUTHORIZED;
            assert_eq!(refused, entry.who != Who::Anyone, "{} {uri}: {}", entry.method, response.status());
            assert_eq!(refused, response.headers().contains_key("www-authenticate"), "{uri}");
        }
    }

    #[actix_web::test]
    async fn a_wrong_method_is_told_which_would_do() {
        let (state, _folder) = state::tests::unconnected();
        let app = init_service(App::new().app_data(state).configure(configure)).await;
        let response = call_service(&app, TestRequest::put().uri("/api/files").to_request()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers().get("allow").unwrap(), "POST, GET");
    }
}
