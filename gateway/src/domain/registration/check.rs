//! Checks of a registration that need nothing but the request. Pure.

use nebula_api::device::RegisterRequest;

use crate::database::device::Role;
use crate::error::ApiError;

const MAX_NAME: usize = 63;
/// More than any real device has; nebula tries them all.
const MAX_ENDPOINTS: usize = 16;

/// Checks everything but the key; answers the role. Fails with 400.
pub(super) fn request(request: &RegisterRequest) -> Result<Role, ApiError> {
    name(&request.device_name)?;
    let role = role(request.role.as_deref().unwrap_or(Role::Host.word()))?;
    endpoints(&request.endpoints)?;
    if role == Role::Lighthouse && request.endpoints.is_empty() {
        return Err(ApiError::bad_argument("a lighthouse needs an endpoint: without one no device finds it")
            .hint("Name at least one host:port where other devices reach it, for example 192.0.2.10:4242."));
    }
    Ok(role)
}

/// Reads a role. Fails with 400.
pub(crate) fn role(word: &str) -> Result<Role, ApiError> {
    Role::parse(word).ok_or_else(|| {
        ApiError::bad_argument(format!("role is {word:?}")).hint("Roles are host, lighthouse and relay.")
    })
}

/// Checks the addresses of a device on the underlay. Fails with 400 for the first that is wrong.
pub(crate) fn endpoints(endpoints: &[String]) -> Result<(), ApiError> {
    if endpoints.len() > MAX_ENDPOINTS {
        return Err(ApiError::bad_argument(format!(
            "{} endpoints were given, at most {MAX_ENDPOINTS} are taken",
            endpoints.len()
        )));
    }
    endpoints.iter().try_for_each(|text| endpoint(text))
}

/// Checks a name for a certificate. Fails with 400.
pub(crate) fn name(name: &str) -> Result<(), ApiError> {
    if name.eq_ignore_ascii_case("any") {
        return Err(ApiError::bad_argument(format!("a device cannot be named {name:?}"))
            .hint("In firewall rules of nebula the word means every device; choose another name."));
    }
    let first = name.chars().next().is_some_and(char::is_alphanumeric);
    let rest = name.chars().all(|letter| letter.is_alphanumeric() || "._-".contains(letter));
    if first && rest && name.chars().count() <= MAX_NAME {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_NAME + 1).collect();
    Err(ApiError::bad_argument(format!("deviceName {shown:?} is not a device name"))
        .hint("1 to 63 letters, digits, dots, underscores or dashes, beginning with a letter or digit."))
}

/// `host:port`: a name, an IPv4 address, or an IPv6 address in brackets.
fn endpoint(text: &str) -> Result<(), ApiError> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let port = !port.starts_with('+') && port.parse::<u16>().is_ok_and(|port| port != 0);
        port && match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                (1..=253).contains(&host.len())
                    && host.split('.').all(|label| {
                        (1..=63).contains(&label.len())
                            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                    })
            }
        }
    });
    if good {
        return Ok(());
    }
    let shown: String = text.chars().take(80).collect();
    Err(ApiError::bad_argument(format!("endpoint {shown:?} is not host:port"))
        .hint("For example 192.0.2.10:4242, [2001:db8::1]:4242 or lighthouse.example.net:4242."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_1_to_63_letters_digits_dots_underscores_and_dashes() {
        for good in ["a", "laptop-1", "Küche.pi_4", "0", &"x".repeat(63)] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "a\n", "\"", "any", "Any", &"x".repeat(64)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints_are_host_and_port() {
        for good in ["192.0.2.10:4242", "lh.example.net:1", "lh:65535", "[2001:db8::1]:4242", "[::]:1"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ":",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1:2",
            "2001:db8::1:4242",
            "[x]:1",
            "a b:1",
            "a\":1",
            "a..b:1",
            "[::1]",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lighthouse_needs_an_endpoint() {
        let mut asked = RegisterRequest {
            project_id: uuid::Uuid::nil(),
            device_id: uuid::Uuid::nil(),
            device_name: "lh".into(),
            public_key: String::new(),
            role: Some("lighthouse".into()),
            endpoints: vec![],
            enrolment_code: None,
        };
        assert!(request(&asked).is_err());
        asked.endpoints.push("192.0.2.10:4242".into());
        assert_eq!(request(&asked).unwrap(), Role::Lighthouse);
        asked.role = Some("king".into());
        assert!(request(&asked).is_err());
        asked.role = None;
        assert_eq!(request(&asked).unwrap(), Role::Host);
    }
}
