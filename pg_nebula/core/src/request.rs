//! The request that a gateway runs a statement for. It travels behind the token that proves the caller, so that each
//! statement brings its own, also through a pooler and where one transaction serves several requests:
//! `TOKEN REQUEST CLIENT`, with `-` for what is not known.

use std::net::IpAddr;

/// A request to a gateway, for the record of what it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Request<'a> {
    /// `X-Request-Id`.
    pub id: Option<&'a str>,
    /// Address of the client.
    pub client: Option<IpAddr>,
}

/// Separates a token from the request behind it. What is malformed counts as not known: it is told by a gateway,
/// about itself.
#[must_use]
pub fn split(proof: &str) -> (&str, Request<'_>) {
    let mut parts = proof.splitn(3, ' ');
    let token = parts.next().unwrap_or_default();
    let id = parts.next().filter(|id| is_identifier(id));
    (token, Request { id, client: parts.next().and_then(|client| client.parse().ok()) })
}

fn is_identifier(text: &str) -> bool {
    (8..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_travels_with_and_without_its_request() {
        assert_eq!(split("a.b.c"), ("a.b.c", Request::default()));
        let request = Request { id: Some("0198c0de-7000"), client: "2001:db8::1".parse().ok() };
        assert_eq!(split("a.b.c 0198c0de-7000 2001:db8::1"), ("a.b.c", request));
        let unknown = Request { id: None, client: "192.0.2.1".parse().ok() };
        assert_eq!(split("a.b.c - 192.0.2.1"), ("a.b.c", unknown));
        assert_eq!(split("a.b.c 0198c0de-7000 -").1, Request { client: None, ..request });
    }

    #[test]
    fn what_is_no_identifier_or_address_is_not_recorded() {
        for wrong in ["short", "with'quote-in-it", &"x".repeat(65), "ümlaut-in-it"] {
            assert_eq!(split(&format!("a.b.c {wrong} 300.0.0.1")), ("a.b.c", Request::default()), "{wrong}");
        }
        assert_eq!(split("a.b.c 0198c0de-7000 192.0.2.1 more").1.client, None);
        assert_eq!(split(""), ("", Request::default()));
    }
}
