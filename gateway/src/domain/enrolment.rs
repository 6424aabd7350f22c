//! Enrolment codes: their hash, and the link and QR code that carry one.

use sha2::{Digest, Sha256};

pub(crate) mod preauth;
mod qr;

pub(crate) use qr::png;

/// SHA-256 of a code without its dashes, spaces and letter case: codes are written in groups, and read aloud.
pub(crate) fn code_hash(code: &str) -> Vec<u8> {
    let plain: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect();
    Sha256::digest(plain.as_bytes()).to_vec()
}

/// The link that enrols a device; `server` is the URL of the gateway.
pub(crate) fn link(server: &str, code: &str) -> String {
    format!("nebula://enrol?server={}&code={code}", percent_encoded(server))
}

/// The one command on a device with systemd that joins it; none if the address is no plain URL, since a shell
/// reads it.
pub(crate) fn command(server: &str, code: &str, sha256: &str) -> Option<String> {
    // Some shells take brackets, as in the address of IPv6, for a pattern.
    let quote = if server.contains('[') { "'" } else { "" };
    is_plain_url(server)
        .then(|| format!("curl -fsSL {quote}{server}/install.sh{quote} | sh -s -- {code} {sha256}"))
}

/// Whether a URL has only letters that mean nothing to a shell: host names, addresses and ports.
pub(crate) fn is_plain_url(server: &str) -> bool {
    server.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:/[]".contains(&byte))
}

/// Percent-encodes every byte that RFC 3986 does not call unreserved.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_without_regard_to_dashes_spaces_and_case() {
        assert_eq!(code_hash("aaaaa-bbbbb 7"), code_hash("AAAAABBBBB7"));
        assert_ne!(code_hash("AAAAA"), code_hash("AAAAB"));
    }

    #[test]
    fn no_address_brings_a_command_of_its_own_to_the_shell() {
        let made = command("https://nebula.example.org", "AB-CD", "ff");
        assert_eq!(made.unwrap(), "curl -fsSL https://nebula.example.org/install.sh | sh -s -- AB-CD ff");
        for server in ["http://a;reboot", "http://a'b", "http://$(reboot)", "http://a b", "http://a&b"] {
            assert_eq!(command(server, "AB-CD", "ff"), None, "{server}");
        }
    }

    #[test]
    fn links_escape_the_server() {
        assert_eq!(
            link("https://[::1]:8080", "AB-CD"),
            "nebula://enrol?server=https%3A%2F%2F%5B%3A%3A1%5D%3A8080&code=AB-CD"
        );
    }
}
