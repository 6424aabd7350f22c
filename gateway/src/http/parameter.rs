//! Parameters of URLs, judged by what `/openapi.json` says of them. One that a route does not know is refused: ignored,
//! a misspelt filter would show everything.

use std::rc::Rc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, Route};
use chrono::DateTime;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use utoipa::openapi::path::{self, ParameterIn};
use uuid::Uuid;

use crate::error::ApiError;

/// A parameter of the query or of the path.
#[derive(Debug)]
pub(super) struct Parameter {
    name: String,
    is_query: bool,
    kind: Kind,
}

/// The values that a parameter takes.
#[derive(Debug)]
enum Kind {
    Text,
    Identifier,
    Boolean,
    Time,
    Number { least: i64, most: i64 },
    Word(Vec<String>),
}

impl Parameter {
    /// `None` for headers, which each protocol reads by itself.
    pub(super) fn documented(parameter: &path::Parameter) -> Option<Self> {
        let is_query = match parameter.parameter_in {
            ParameterIn::Query => true,
            ParameterIn::Path => false,
            _ => return None,
        };
        let schema = serde_json::to_value(&parameter.schema).unwrap_or_default();
        Some(Self { name: parameter.name.clone(), is_query, kind: Kind::documented(&schema) })
    }

    fn check(&self, value: &str) -> Result<(), ApiError> {
        let Some(wanted) = self.kind.unmet(value) else { return Ok(()) };
        Err(ApiError::bad_argument(format!("{} cannot be {:?}", self.name, beginning(value)))
            .field(self.name.as_str())
            .hint(format!("Give {wanted}.")))
    }
}

impl Kind {
    fn documented(schema: &Value) -> Self {
        // An optional parameter that has fixed words is one of: null, them.
        let choices = ["oneOf", "anyOf"].iter().find_map(|kind| schema[kind].as_array());
        if let Some(choice) = choices.and_then(|all| all.iter().find(|one| one["type"] != "null")) {
            return Self::documented(choice);
        }
        if let Some(words) = schema["enum"].as_array() {
            return Self::Word(words.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        let kind = schema["type"].as_str().or_else(|| {
            schema["type"].as_array()?.iter().filter_map(Value::as_str).find(|kind| *kind != "null")
        });
        match kind {
            Some("boolean") => Self::Boolean,
            Some("integer") => {
                let (least, most) = match schema["format"].as_str() {
                    Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
                    _ => (i64::MIN, i64::MAX),
                };
                let bound = |name: &str, usual| schema[name].as_f64().map_or(usual, |bound| bound as i64);
                Self::Number { least: bound("minimum", least), most: bound("maximum", most) }
            }
            Some("string") if schema["format"] == "uuid" => Self::Identifier,
            Some("string") if schema["format"] == "date-time" => Self::Time,
            _ => Self::Text,
        }
    }

    /// The kind that is wanted, for a value that is not of it.
    fn unmet(&self, value: &str) -> Option<String> {
        match self {
            Self::Text => None,
            Self::Identifier => Uuid::try_parse(value).is_err().then(|| "an identifier (UUID)".to_owned()),
            Self::Boolean => (!matches!(value, "true" | "false")).then(|| "true or false".to_owned()),
            Self::Time => DateTime::parse_from_rfc3339(value)
                .is_err()
                .then(|| "a time such as 2030-12-31T00:00:00Z".to_owned()),
            Self::Number { least, most } => {
                let fits = value.parse::<i64>().is_ok_and(|number| (*least..=*most).contains(&number));
                (!fits).then(|| format!("a whole number from {least} to {most}"))
            }
            Self::Word(words) => (!words.iter().any(|word| word == value)).then(|| {
                let words: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
                format!("one of {}", words.join(", "))
            }),
        }
    }
}

/// As much of a value as anybody reads.
fn beginning(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The pairs of a query. Fails with 400 for text that is not UTF-8.
fn pairs(query: &str) -> impl Iterator<Item = Result<(String, String), ApiError>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |part: &str| {
            percent_decode_str(&part.replace('+', " ")).decode_utf8().ok().map(|text| text.into_owned())
        };
        decoded(name).zip(decoded(value)).ok_or_else(|| {
            ApiError::bad_argument(format!("{:?} in the query is not UTF-8", beginning(pair)))
                .hint("Encode text as UTF-8, and its bytes as %XX.")
        })
    })
}

fn unknown(name: &str, known: &[&str]) -> ApiError {
    let hint = match known {
        [] => "It takes none.".to_owned(),
        names => format!("It takes {}.", names.join(", ")),
    };
    let shown = beginning(name);
    ApiError::bad_argument(format!("this route has no query parameter {shown:?}")).field(shown).hint(hint)
}

/// Refuses parameters that are not among `known`, and text that is not UTF-8. Fails with 400.
pub(crate) fn check_names(query: &str, known: &[&str]) -> Result<(), ApiError> {
    for pair in pairs(query) {
        let (name, _) = pair?;
        if !known.contains(&name.as_str()) {
            return Err(unknown(&name, known));
        }
    }
    Ok(())
}

/// Refuses a query that is not as documented: other parameters, values of another kind, a parameter twice.
fn check_query(query: &str, documented: &[Parameter]) -> Result<(), ApiError> {
    let known = || documented.iter().filter(|parameter| parameter.is_query);
    let mut seen = Vec::new();
    for pair in pairs(query) {
        let (name, value) = pair?;
        let Some(parameter) = known().find(|parameter| parameter.name == name) else {
            return Err(unknown(&name, &known().map(|one| one.name.as_str()).collect::<Vec<_>>()));
        };
        parameter.check(&value)?;
        if seen.contains(&name) {
            return Err(ApiError::bad_argument(format!("{name} stands twice in the query")).field(name));
        }
        seen.push(name);
    }
    Ok(())
}

/// The first parameter of the path that is not as documented.
pub(crate) fn fault_in_path(request: &HttpRequest) -> Option<ApiError> {
    let extensions = request.extensions();
    let documented = extensions.get::<Rc<[Parameter]>>()?;
    documented.iter().filter(|parameter| !parameter.is_query).find_map(|parameter| {
        let value = request.match_info().get(&parameter.name)?;
        parameter.check(value).err()
    })
}

/// The route, but requests whose query is not as documented are refused.
pub(super) fn limited(route: Route, documented: Rc<[Parameter]>) -> Route {
    route.wrap(from_fn(move |request: ServiceRequest, next: Next<BoxBody>| {
        let refusal = check_query(request.query_string(), &documented).err();
        request.extensions_mut().insert(Rc::clone(&documented));
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

    fn query_parameter(name: &str, schema: &Value) -> Parameter {
        Parameter { name: name.to_owned(), is_query: true, kind: Kind::documented(schema) }
    }

    #[test]
    fn queries_have_known_parameters_and_are_utf_8() {
        let known = ["projectId", "max"];
        for good in ["", "max=1", "projectId=x&max=%C3%BC", "&max", "m%61x=1"] {
            assert!(check_names(good, &known).is_ok(), "{good}");
        }
        for bad in ["project=x", "max=1&x", "Max=1", "max=%ff", "%ff=1", "a+b=1", "=1"] {
            let failure = check_names(bad, &known).unwrap_err().failure();
            assert!(failure.hint.is_some(), "{bad}");
        }
        assert!(check_names("max=1", &[]).is_err());
    }

    #[test]
    fn values_that_are_not_as_documented_are_refused_with_the_name_of_the_parameter() {
        use serde_json::json;
        let documented = [
            query_parameter("projectId", &json!({"type": "string", "format": "uuid"})),
            query_parameter(
                "max",
                &json!({"type": ["integer", "null"], "format": "int32", "minimum": 1, "maximum": 9}),
            ),
            query_parameter("below", &json!({"type": ["boolean", "null"]})),
            query_parameter(
                "state",
                &json!({"oneOf": [{"type": "null"}, {"type": "string", "enum": ["open"]}]}),
            ),
            query_parameter("q", &json!({"type": "string"})),
            query_parameter("from", &json!({"type": ["string", "null"], "format": "date-time"})),
        ];
        let id = "projectId=0198c0de-0000-7000-8000-000000000000";
        for good in
            ["", id, "max=1&below=true", "max=9", "state=open&q=", "q=a+b", "from=2030-12-31T00:00:00Z"]
        {
            assert!(check_query(good, &documented).is_ok(), "{good}");
        }
        for (bad, field) in [
            ("projectId=x", "projectId"),
            ("max=0", "max"),
            ("max=10", "max"),
            ("max=one", "max"),
            ("max=", "max"),
            ("below=1", "below"),
            ("state=shut", "state"),
            ("q=a&q=b", "q"),
            ("from=now", "from"),
            ("p=1", "p"),
        ] {
            let failure = check_query(bad, &documented).unwrap_err().failure();
            assert_eq!(failure.field.as_deref(), Some(field), "{bad}");
        }
    }
}
