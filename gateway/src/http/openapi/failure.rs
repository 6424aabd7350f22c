//! Refusals in the document: those that follow from who may call a route, and from what it reads, are the same in all
//! routes and stand in the document once. A handler describes only those that mean something else there.

use actix_web::http::Method;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, ContentBuilder, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder};

use crate::http::route::{Access, Entry};

/// Status, name and description.
type Usual = (&'static str, &'static str, &'static str);

const BAD_REQUEST: Usual =
    ("400", "BadRequest", "The request cannot be used; `field` names the part at fault");
const UNAUTHORIZED: Usual = ("401", "Unauthorized", "No access token, or one that is not valid any more");
const FORBIDDEN: Usual = ("403", "Forbidden", "The account may not do this");
const NOT_FOUND: Usual = ("404", "NotFound", "Not among what the caller sees");
const TIMEOUT: Usual = ("408", "Timeout", "The body came too slowly");
const CONFLICT: Usual = ("409", "Conflict", "It exists already, or its state does not allow this");
const TOO_LARGE: Usual = ("413", "TooLarge", "The body is larger than the route takes");
const MEDIA_TYPE: Usual = ("415", "UnsupportedMediaType", "The body is not of a type that the route takes");
const RATE_LIMITED: Usual = ("429", "TooManyRequests", "Too many requests at once, or in a while");
const UNAVAILABLE: Usual = ("503", "Unavailable", "Database, storage or a node does not answer just now");
/// Any other failure.
const OTHER: Usual = ("default", "Failed", "Failed");
/// Of the agents' protocol, whose failures have the form that its clients read.
const AGENT: Usual = ("default", "AgentRefused", "Refused, in the form of the agents' protocol");

const USUAL: [Usual; 11] = [
    BAD_REQUEST,
    UNAUTHORIZED,
    FORBIDDEN,
    NOT_FOUND,
    TIMEOUT,
    CONFLICT,
    TOO_LARGE,
    MEDIA_TYPE,
    RATE_LIMITED,
    UNAVAILABLE,
    OTHER,
];

/// The responses that operations refer to, by name.
pub(super) fn components() -> impl Iterator<Item = (String, RefOr<Response>)> {
    let usual = USUAL.into_iter().map(|usual| (usual, "Failure"));
    usual.chain([(AGENT, "ApiErrors")]).map(|((status, name, description), schema)| {
        let response =
            ResponseBuilder::new().description(description).content("application/json", body(schema));
        let header = |description: &str| {
            let text = ObjectBuilder::new().schema_type(Type::String);
            HeaderBuilder::new().schema(Some(text)).description(Some(description)).build()
        };
        let response = match status {
            "401" => response.header("WWW-Authenticate", header("The scheme: Bearer")),
            "429" | "503" => response.header("Retry-After", header("Seconds until another try makes sense")),
            _ => response,
        };
        (name.to_owned(), response.build().into())
    })
}

fn body(schema: &str) -> Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build()
}

/// Adds the refusals of a route to what its handler describes, and the form of failures to those without one.
pub(super) fn add(operation: &mut Operation, entry: &Entry) {
    let is_foreign = entry.path.starts_with("/v1/") || entry.path.starts_with("/v2/");
    let usual = if is_foreign { vec![AGENT] } else { usual(operation, entry) };
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        if let RefOr::T(response) = response
            && status.as_str() >= "400"
            && response.content.is_empty()
            && entry.method != Method::HEAD
        {
            response.content.insert("application/json".to_owned(), body("Failure").into());
        }
    }
    for (status, name, _) in usual {
        let reference = RefOr::Ref(Ref::from_response_name(name));
        responses.entry(status.to_owned()).or_insert(reference);
    }
}

fn usual(operation: &Operation, entry: &Entry) -> Vec<Usual> {
    let mut usual = vec![BAD_REQUEST, RATE_LIMITED, UNAVAILABLE, OTHER];
    let mut add = |applies: bool, more: &[Usual]| {
        if applies {
            usual.extend(more);
        }
    };
    let parameters = || operation.parameters.iter().flatten();
    let names_one = parameters().any(|parameter| match parameter {
        RefOr::T(parameter) => {
            matches!(parameter.parameter_in, ParameterIn::Path) || parameter.name == "projectId"
        }
        RefOr::Ref(_) => false,
    });
    add(entry.access != Access::Anyone, &[UNAUTHORIZED]);
    add(!matches!(entry.access, Access::Anyone | Access::Account), &[FORBIDDEN]);
    add(names_one || operation.request_body.is_some(), &[NOT_FOUND]);
    add(!matches!(entry.method, Method::GET | Method::HEAD | Method::OPTIONS), &[CONFLICT]);
    add(operation.request_body.is_some(), &[TIMEOUT, TOO_LARGE, MEDIA_TYPE]);
    usual
}
