//! Addresses on the underlay, `host:port`, as command-line arguments.

use super::line::is_unsafe;
use crate::error::UsageError;

/// Parses the address at which a device is reachable.
pub(crate) fn parse_endpoint(text: &str) -> Result<String, UsageError> {
    let wrong = || {
        UsageError::new(
            "write it as host:port, for example lighthouse.example.org:4242 or [2001:db8::1]:4242",
        )
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let sound = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(|c| matches!(c, ':' | '/' | ' ') || is_unsafe(c)),
    };
    if sound && port.parse::<u16>().is_ok_and(|port| port > 0) { Ok(text.to_owned()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_host_and_port() {
        for good in ["example.org:4242", "192.0.2.1:1", "[2001:db8::1]:4242"] {
            assert!(parse_endpoint(good).is_ok(), "{good}");
        }
        for wrong in [
            "example.org",
            ":4242",
            "example.org:0",
            "example.org:70000",
            "2001:db8::1:4242",
            "http://a:1",
            "a\nb:1",
        ] {
            assert!(parse_endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
