//! Queries of URLs. One that a route does not know is refused: ignored, a misspelt filter would show everything.

use std::rc::Rc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, ResponseError, Route};
use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// Refuses parameters that are not among `known`, and text that is not UTF-8. Fails with 400.
pub(crate) fn check<T: AsRef<str>>(query: &str, known: &[T]) -> Result<(), ApiError> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let [name, value] = [name, value].map(|part| percent_decode_str(part).decode_utf8());
        let (Ok(name), Ok(_)) = (name, value) else {
            let shown: String = pair.chars().take(80).collect();
            return Err(ApiError::bad_argument(format!("{shown:?} in the query is not UTF-8"))
                .hint("Encode text as UTF-8, and its bytes as %XX."));
        };
        if !known.iter().any(|known| known.as_ref() == name) {
            let shown: String = name.chars().take(80).collect();
            let names: Vec<_> = known.iter().map(AsRef::as_ref).collect();
            let hint = match names.as_slice() {
                [] => "It takes none.".to_owned(),
                names => format!("It takes {}.", names.join(", ")),
            };
            return Err(
                ApiError::bad_argument(format!("this route has no query parameter {shown:?}")).hint(hint)
            );
        }
    }
    Ok(())
}

/// The route, but requests with other query parameters than these are refused.
pub(super) fn limited(route: Route, known: Rc<[String]>) -> Route {
    route.wrap(from_fn(move |request: ServiceRequest, next: Next<BoxBody>| {
        let refusal = check(request.query_string(), &known).err();
        async move {
            match refusal {
                Some(error) => {
                    Ok::<ServiceResponse<BoxBody>, Error>(request.into_response(error.error_response()))
                }
                None => next.call(request).await,
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_have_known_parameters_and_are_utf_8() {
        let known = ["projectId", "max"];
        for good in ["", "max=1", "projectId=x&max=%C3%BC", "&max", "m%61x=1"] {
            assert!(check(good, &known).is_ok(), "{good}");
        }
        for bad in ["project=x", "max=1&x", "Max=1", "max=%ff", "%ff=1", "a+b=1", "=1"] {
            let failure = check(bad, &known).unwrap_err().failure();
            assert!(failure.hint.is_some(), "{bad}");
        }
        assert!(check::<&str>("max=1", &[]).is_err());
    }
}
