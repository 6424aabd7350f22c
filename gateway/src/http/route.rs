//! One route: its URL, who may call it, and its handler.

use std::rc::Rc;

use actix_web::dev::Handler;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpRequest, HttpResponse, Resource, Responder, Route, web};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::HttpMethod;

use crate::http::error::method_not_allowed;
use crate::http::parameter::{self, Parameter};

/// The least role that may call a route; `nebula.permission` has the actions. For the documentation: the database
/// decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everyone, without a token.
    Anyone,
    /// Every account, for itself.
    Account,
    Viewer,
    Member,
    Admin,
    Owner,
    /// Administrators of everything.
    Operator,
    /// The account that registered the device, and administrators of the project.
    OwnDevice,
    /// Members, and holders of an enrolment code.
    MemberOrCode,
    /// Viewers, and holders of a signed link.
    ViewerOrLink,
}

impl Access {
    /// For the documentation of the route.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Account => "every account",
            Self::Viewer => "viewers of the project",
            Self::Member => "members of the project",
            Self::Admin => "administrators of the project",
            Self::Owner => "owners of the project",
            Self::Operator => "operators",
            Self::OwnDevice => "the account that registered it, administrators of the project",
            Self::MemberOrCode => "members of the project, holders of an enrolment code",
            Self::ViewerOrLink => "viewers of the project, holders of a signed link",
        }
    }
}

pub(crate) struct Entry {
    /// Module and name of the handler, unique in the table; that of HEAD beside GET ends in `_head`.
    pub(crate) name: String,
    pub(crate) method: Method,
    /// With its parameters in braces.
    pub(crate) path: String,
    pub(crate) access: Access,
    routes: Vec<Route>,
}

/// The routes of a handler, one per method. `P` is the type that `#[utoipa::path]` derives from the handler;
/// method and path are taken from it, so that they are written only there.
pub(crate) fn entries<P, F, Args>(name: &str, access: Access, handler: F) -> Vec<Entry>
where
    P: utoipa::Path,
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let methods = P::methods();
    let parameters = parameters_of::<P>();
    let has_head = methods.contains(&HttpMethod::Head);
    let entry = |method: HttpMethod| {
        let method = actix_method(&method);
        let is_second = method == Method::HEAD && methods.contains(&HttpMethod::Get);
        let name = if is_second { format!("{name}_head") } else { name.to_owned() };
        // HEAD wherever GET is; it belongs to the same entry, because it is no operation of its own.
        let heads = (method == Method::GET && !has_head).then_some(Method::HEAD);
        let route = |method: Method| {
            let route = web::method(method).to(handler.clone());
            match &parameters {
                Some(documented) => parameter::limited(route, Rc::clone(documented)),
                None => route,
            }
        };
        let routes = std::iter::once(method.clone()).chain(heads).map(route).collect();
        Entry { name, method, path: P::path(), access, routes }
    };
    methods.iter().cloned().map(entry).collect()
}

/// The parameters that the documentation of a route names. `None`: the handler looks at the query itself, because
/// the body is to be read to its end before a refusal; or the protocol is not this project's own.
fn parameters_of<P: utoipa::Path>() -> Option<Rc<[Parameter]>> {
    let (path, operation) = (P::path(), P::operation());
    let is_stream = match operation.request_body {
        Some(RefOr::T(body)) => body.content.contains_key("application/octet-stream"),
        _ => false,
    };
    if is_stream || path.starts_with("/v1/") || path.starts_with("/v2/") {
        return None;
    }
    let parameters = operation.parameters.into_iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Parameter::documented(&parameter),
        RefOr::Ref(_) => None,
    });
    Some(parameters.collect())
}

fn actix_method(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Options => Method::OPTIONS,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Trace => Method::TRACE,
    }
}

/// Adds routes to an application. Another method of a known URL answers 405 with the methods that the URL
/// has.
pub(crate) fn configure(mut entries: Vec<Entry>, config: &mut web::ServiceConfig) {
    while let Some(path) = entries.first().map(|entry| entry.path.clone()) {
        let (here, rest): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.path == path);
        entries = rest;
        let mut allowed: Vec<_> = here.iter().map(|entry| entry.method.as_str()).collect();
        if allowed.contains(&"GET") && !allowed.contains(&"HEAD") {
            allowed.push("HEAD");
        }
        let allowed = allowed.join(", ");
        let resource = web::resource(path).default_service(web::to(move |request: HttpRequest| {
            let refusal = method_not_allowed(&request, &allowed);
            async move { Err::<HttpResponse, _>(refusal) }
        }));
        let routes = here.into_iter().flat_map(|entry| entry.routes);
        config.service(routes.fold(resource, Resource::route));
    }
}
