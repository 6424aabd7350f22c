//! The address of a caller, and the address at which the caller sees the gateway. Headers about either are
//! believed only from the proxies that the settings name: anybody can write them.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{FORWARDED, HOST, HeaderName};
use actix_web::{HttpRequest, web};
use nebula_api::endpoint;

use crate::http::encryption::is_encrypted;
use crate::infra::trusted_proxies::TrustedProxies;
use crate::state::AppState;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The address that a client is recorded and counted by: the nearest one that is no trusted proxy.
pub(crate) fn client_address(request: &HttpRequest) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    let Some(proxies) = trusted(request).filter(|proxies| proxies.contains(peer)) else { return Some(peer) };
    // Each proxy appends the address it was called from, so the list is read from its end. What stands before
    // the first untrusted address was written by that client.
    let mut nearest = peer;
    for hop in hops(request).into_iter().rev() {
        // A proxy that hides its caller ("unknown", "_hidden") is the last that is known.
        let Some(address) = hop_address(&hop) else { break };
        nearest = address;
        if !proxies.contains(address) {
            break;
        }
    }
    Some(nearest)
}

/// Scheme, host and port at which the caller reached the gateway.
pub(crate) fn own_url(request: &HttpRequest) -> String {
    let by_proxy = request
        .peer_addr()
        .and_then(|peer| trusted(request).map(|proxies| proxies.contains(peer.ip())))
        .unwrap_or_default();
    let told = |header: &HeaderName, parameter: &str| {
        let one = last(request, header);
        let other = forwarded(request).pop().and_then(|mut hop| hop.remove(parameter));
        let is_contradiction = one.iter().zip(&other).any(|(one, other)| !one.eq_ignore_ascii_case(other));
        one.or(other).filter(|_| by_proxy && !is_contradiction)
    };
    let scheme = told(&FORWARDED_PROTO, "proto").map(|scheme| scheme.to_ascii_lowercase());
    let scheme = scheme.filter(|scheme| matches!(scheme.as_str(), "http" | "https"));
    let own = || {
        let header = request.headers().get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        header.or_else(|| Some(request.uri().authority()?.to_string()))
    };
    let host = told(&FORWARDED_HOST, "host").filter(|host| is_host(host)).or_else(own);
    let host = host.filter(|host| is_host(host)).unwrap_or_else(|| "localhost".to_owned());
    let own_scheme = if is_encrypted(request) { "https" } else { "http" };
    format!("{}://{host}", scheme.as_deref().unwrap_or(own_scheme))
}

fn trusted(request: &HttpRequest) -> Option<&TrustedProxies> {
    Some(&request.app_data::<web::Data<AppState>>()?.proxies)
}

/// A name or address with or without a port. Nothing else, because it becomes part of scripts and links.
fn is_host(text: &str) -> bool {
    endpoint::is_well_formed(&endpoint::of_authority(text, 80))
}

/// The addresses that the proxies were called from, the first proxy's first, as `X-Forwarded-For` or
/// `Forwarded` has them. Where both are there, those on which they agree, from the end: a proxy that writes
/// one of them passes the other on as the client wrote it.
fn hops(request: &HttpRequest) -> Vec<String> {
    let listed = entries(request, &FORWARDED_FOR);
    let standard = forwarded(request).into_iter().map(|mut hop| hop.remove("for").unwrap_or_default());
    let standard: Vec<_> = standard.collect();
    if listed.is_empty() || standard.is_empty() {
        return [listed, standard].concat();
    }
    let pairs = listed.into_iter().rev().zip(standard.iter().rev());
    let agreed = pairs.take_while(|(one, other)| hop_address(one) == hop_address(other));
    let mut agreed: Vec<_> = agreed.map(|(one, _)| one).collect();
    agreed.reverse();
    agreed
}

/// The elements of `Forwarded` (RFC 7239), each with its parameters.
fn forwarded(request: &HttpRequest) -> Vec<std::collections::HashMap<String, String>> {
    let parameters = |element: String| {
        let pairs = element.split(';').filter_map(|pair| pair.split_once('=')).map(|(name, value)| {
            (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned())
        });
        pairs.collect()
    };
    entries(request, &FORWARDED).into_iter().map(parameters).collect()
}

/// The values of a list that may be spread over several headers. Quoted commas do not occur in what is read
/// here.
fn entries(request: &HttpRequest, header: &HeaderName) -> Vec<String> {
    let lines = request.headers().get_all(header).filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|entry| entry.trim().to_owned()).collect()
}

/// The value that the nearest proxy wrote.
fn last(request: &HttpRequest, header: &HeaderName) -> Option<String> {
    entries(request, header).pop().filter(|value| !value.is_empty())
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
fn hop_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::state;

    /// A request from a peer, to a gateway that trusts 10.0.0.0/8.
    fn request(peer: &str, headers: &[(&'static str, &'static str)]) -> HttpRequest {
        let (state, _folder) = state::tests::behind_proxies("10.0.0.0/8");
        let request =
            TestRequest::default().app_data(state).peer_addr(SocketAddr::new(peer.parse().unwrap(), 1));
        let request = request.insert_header(("Host", "nebula.lan:8080"));
        headers.iter().fold(request, |request, header| request.append_header(*header)).to_http_request()
    }

    #[actix_web::test]
    async fn nobody_but_a_trusted_proxy_says_who_the_client_is() {
        for (peer, headers, expected) in [
            ("192.0.2.1", &[("X-Forwarded-For", "198.51.100.7")][..], "192.0.2.1"),
            ("10.0.0.1", &[("X-Forwarded-For", "198.51.100.7")], "198.51.100.7"),
            // The client wrote the first entry himself.
            ("10.0.0.1", &[("X-Forwarded-For", "1.1.1.1, 198.51.100.7, 10.0.0.2")], "198.51.100.7"),
            (
                "10.0.0.1",
                &[("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "198.51.100.7:99")],
                "198.51.100.7",
            ),
            ("10.0.0.1", &[("X-Forwarded-For", "1.1.1.1, unknown")], "10.0.0.1"),
            (
                "10.0.0.1",
                &[("Forwarded", "for=1.1.1.1, for=\"[2001:db8::7]:99\";proto=https")],
                "2001:db8::7",
            ),
            (
                "10.0.0.1",
                &[("Forwarded", "for=198.51.100.7:99"), ("X-Forwarded-For", "1.1.1.1, 198.51.100.7")],
                "198.51.100.7",
            ),
            // Either may be the client's own word.
            ("10.0.0.1", &[("Forwarded", "for=1.1.1.1"), ("X-Forwarded-For", "198.51.100.7")], "10.0.0.1"),
            ("10.0.0.1", &[("X-Real-IP", "1.1.1.1"), ("Client-IP", "1.1.1.1")], "10.0.0.1"),
            ("::ffff:10.0.0.1", &[("X-Forwarded-For", "::ffff:198.51.100.7")], "198.51.100.7"),
        ] {
            let seen = client_address(&request(peer, headers)).unwrap().to_string();
            assert_eq!(seen, expected, "{peer} {headers:?}");
        }
    }

    #[actix_web::test]
    async fn nobody_but_a_trusted_proxy_says_where_devices_are_sent() {
        let told = [("X-Forwarded-Host", "nebula.example.org"), ("X-Forwarded-Proto", "https")];
        assert_eq!(own_url(&request("192.0.2.1", &told)), "http://nebula.lan:8080");
        assert_eq!(own_url(&request("10.0.0.1", &told)), "https://nebula.example.org");
        let standard = [("Forwarded", "for=1.1.1.1;host=nebula.example.org;proto=https")];
        assert_eq!(own_url(&request("192.0.2.1", &standard)), "http://nebula.lan:8080");
        assert_eq!(own_url(&request("10.0.0.1", &standard)), "https://nebula.example.org");
        let contradiction = [("X-Forwarded-Host", "evil.example"), standard[0]];
        assert_eq!(own_url(&request("10.0.0.1", &contradiction)), "https://nebula.lan:8080");
        let crafted = [("X-Forwarded-Host", "u@evil.example/"), ("X-Forwarded-Proto", "javascript")];
        assert_eq!(own_url(&request("10.0.0.1", &crafted)), "http://nebula.lan:8080");
        for wrong in ["a';reboot;'", ":", "..", "-", "a:99999", "[::1", "a:b:c"] {
            let shell = TestRequest::default().insert_header(("Host", wrong)).to_http_request();
            assert_eq!(own_url(&shell), "http://localhost", "{wrong} would be run by devices");
        }
    }
}
