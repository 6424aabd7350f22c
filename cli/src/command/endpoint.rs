//! Addresses on the underlay, `host:port`, as command-line arguments.

use nebula_api::endpoint::{HINT, fault};

use crate::error::UsageError;

/// Parses the address at which a device is reachable.
pub(crate) fn parse_endpoint(text: &str) -> Result<String, UsageError> {
    match fault(text) {
        None => Ok(text.to_owned()),
        Some(fault) => Err(UsageError::new(format!("it {fault}. {HINT}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_no_other_device_can_use_are_refused() {
        for good in ["example.org:4242", "192.0.2.1:1", "[2001:db8::1]:4242"] {
            assert!(parse_endpoint(good).is_ok(), "{good}");
        }
        for wrong in ["example.org", ":4242", "example.org:0", "127.0.0.1:4242", "1.2.3:4242", "a\nb:1"] {
            assert!(parse_endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
