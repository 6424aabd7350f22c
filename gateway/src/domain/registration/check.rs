//! Checks of a registration that need nothing but the request. Pure.

use std::ops::RangeInclusive;

use nebula_api::device::RegisterRequest;
use nebula_api::endpoint;

use crate::database::device::Role;
use crate::error::ApiError;

const MAX_NAME: usize = 63;
/// More than any real device has; nebula tries them all.
const MAX_ENDPOINTS: usize = 16;

/// Checks everything but the key; answers the role. Fails with 400.
pub(super) fn request(request: &RegisterRequest) -> Result<Role, ApiError> {
    name(&request.device_name).map_err(|error| error.field("deviceName"))?;
    let role = role(request.role.as_deref().unwrap_or(Role::Host.word()))?;
    endpoints(&request.endpoints)?;
    if role == Role::Lighthouse && request.endpoints.is_empty() {
        return Err(ApiError::bad_argument("a lighthouse needs an endpoint: without one no device finds it")
            .field("endpoints")
            .hint("Name at least one host:port where other devices reach it, for example 192.0.2.10:4242."));
    }
    Ok(role)
}

/// Reads a role. Fails with 400.
pub(crate) fn role(word: &str) -> Result<Role, ApiError> {
    Role::parse(word).ok_or_else(|| {
        ApiError::bad_argument(format!("role is {word:?}"))
            .field("role")
            .hint("Roles are host, lighthouse and relay.")
    })
}

/// Checks the addresses of a device on the underlay. Fails with 400 for the first that is wrong.
pub(crate) fn endpoints(endpoints: &[String]) -> Result<(), ApiError> {
    if endpoints.len() > MAX_ENDPOINTS {
        return Err(ApiError::bad_argument(format!(
            "{} endpoints were given, at most {MAX_ENDPOINTS} are taken",
            endpoints.len()
        ))
        .field("endpoints")
        .hint("Name those that other devices reach best."));
    }
    endpoints.iter().enumerate().try_for_each(|(index, text)| match endpoint::fault(text) {
        None => Ok(()),
        Some(fault) => {
            let shown: String = text.chars().take(80).collect();
            Err(ApiError::bad_argument(format!("endpoint \"{shown}\" {fault}"))
                .field(format!("endpoints[{index}]"))
                .hint(endpoint::HINT))
        }
    })
}

/// Checks a name for a certificate. Fails with 400.
pub(crate) fn name(name: &str) -> Result<(), ApiError> {
    if name.eq_ignore_ascii_case("any") {
        return Err(ApiError::bad_argument(format!("a device cannot be named {name:?}"))
            .hint("In firewall rules of nebula the word means every device; choose another name."));
    }
    let first = name.chars().next().is_some_and(is_letter);
    let rest = name.chars().all(|letter| is_letter(letter) || "._-".contains(letter));
    if first && rest && name.chars().count() <= MAX_NAME {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_NAME + 1).collect();
    Err(ApiError::bad_argument(format!("deviceName {shown:?} is not a device name"))
        .hint("1 to 63 letters, digits, dots, underscores or dashes, beginning with a letter or digit."))
}

/// Letters beyond ASCII: the ranges of `nebula.is_name`.
const LETTERS: [RangeInclusive<char>; 21] = [
    '\u{AA}'..='\u{AA}',
    '\u{B5}'..='\u{B5}',
    '\u{BA}'..='\u{BA}',
    '\u{C0}'..='\u{D6}',
    '\u{D8}'..='\u{F6}',
    '\u{F8}'..='\u{37D}',
    '\u{37F}'..='\u{61B}',
    '\u{61D}'..='\u{167F}',
    '\u{1681}'..='\u{180D}',
    '\u{180F}'..='\u{1FFF}',
    '\u{2071}'..='\u{2071}',
    '\u{207F}'..='\u{207F}',
    '\u{2090}'..='\u{209C}',
    '\u{2102}'..='\u{2188}',
    '\u{24B6}'..='\u{24E9}',
    '\u{2C00}'..='\u{2FEF}',
    '\u{3001}'..='\u{D7FF}',
    '\u{F900}'..='\u{FDCF}',
    '\u{FDF0}'..='\u{FEFE}',
    '\u{FF00}'..='\u{FFEF}',
    '\u{10000}'..='\u{EFFFF}',
];

/// Whether a name may begin with it.
fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || LETTERS.iter().any(|range| range.contains(&letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_1_to_63_letters_digits_dots_underscores_and_dashes() {
        for good in ["a", "laptop-1", "Küche.pi_4", "0", &"x".repeat(63)] {
            assert!(name(good).is_ok(), "{good}");
        }
        for good in ["Küche", "u\u{308}ber", "台所", "ラジオ", "كمبيوتر", "µ1", "ⅷ", "𝒳1"]
        {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in
            ["a\u{A0}b", "a\u{2028}b", "a\u{202E}b", "a\u{200B}", "\u{FEFF}a", "a\u{85}", "a\u{3000}b", "€"]
        {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "a\n", "\"", "any", "Any", &"x".repeat(64)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints_that_no_other_device_can_use_are_refused_with_the_reason() {
        assert!(endpoints(&["192.0.2.10:4242".into(), "lh:4242".into()]).is_ok());
        let refused = endpoints(&["192.0.2.10:4242".into(), "127.0.0.1:4242".into()]).unwrap_err().failure();
        assert_eq!(refused.detail, "endpoint \"127.0.0.1:4242\" lies in 127.0.0.0/8, the loopback");
        assert!(refused.hint.is_some());
        assert!(endpoints(&vec!["lh:1".into(); 17]).is_err());
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
