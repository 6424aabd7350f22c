//! Comments in a `wg0.conf`, as panels and scripts write them.

/// The meaning of a comment.
#[derive(Debug, PartialEq)]
pub(super) enum Comment {
    /// Name of the peer whose block begins.
    Begin(String),
    /// The block of a peer ends.
    End,
    /// Name of a peer.
    Name(String),
    /// One word or more; the name where it stands right below `[Peer]`.
    Text(String),
    /// A private key, which must not be taken over or shown.
    PrivateKey,
    Other,
}

/// Prefixes before a name, in lower case. wg-easy writes `Client: NAME (ID)`.
const NAMES: [&str; 8] =
    ["name# =", "name#=", "name =", "name:", "friendly_name =", "-wgp- display name:", "client:", "client "];

pub(super) fn read(line: &str) -> Comment {
    let text = line.trim_matches(|c: char| c == '#' || c.is_whitespace());
    // `#Name# = X` of WGDashboard loses only its first mark.
    let lower = text.to_ascii_lowercase();
    let squeezed: String = lower.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    if squeezed.contains("privatekey") {
        return Comment::PrivateKey;
    }
    for (prefix, begins) in [("begin_peer ", true), ("begin ", true), ("end_peer", false), ("end ", false)] {
        // Without the marks of PiVPN on both sides, `begin` is any word.
        let marked = prefix.contains("_peer") || (line.starts_with("###") && line.ends_with("###"));
        if marked && lower.starts_with(prefix) {
            let named = name(&text[prefix.len()..]);
            return if begins { named.map_or(Comment::Other, Comment::Begin) } else { Comment::End };
        }
    }
    for prefix in NAMES {
        if lower.starts_with(prefix) {
            let named = text[prefix.len()..].trim();
            let named = if prefix == "client:" { without_id(named) } else { named };
            return name(named).map_or(Comment::Other, Comment::Name);
        }
    }
    // Settings that are switched off, and other lines with a key, are no names.
    if text.contains([':', '=']) { Comment::Other } else { name(text).map_or(Comment::Other, Comment::Text) }
}

fn name(text: &str) -> Option<String> {
    let text = text.trim().trim_matches('"');
    (!text.is_empty()).then(|| text.to_owned())
}

/// `phone (1f0c…)` is `phone`.
fn without_id(text: &str) -> &str {
    match text.rsplit_once(" (") {
        Some((name, id)) if id.ends_with(')') => name,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_panel_has_its_form_of_a_name() {
        let named = |name: &str| Comment::Name(name.to_owned());
        for (line, comment) in [
            ("#Name# = Anna's phone", named("Anna's phone")),
            ("# Client: phone (1f0c2d3e-0000)", named("phone")),
            ("### begin phone ###", Comment::Begin("phone".to_owned())),
            ("### end phone ###", Comment::End),
            ("# Name: phone", named("phone")),
            ("# friendly_name = phone", named("phone")),
            ("# -WGP- Display name: phone", named("phone")),
            ("# phone", Comment::Text("phone".to_owned())),
            ("### Client phone", named("phone")),
            ("# BEGIN_PEER phone", Comment::Begin("phone".to_owned())),
            ("# END_PEER phone", Comment::End),
            ("# Name = phone", named("phone")),
            ("# ID: 17", Comment::Other),
            ("# Email: a@b", Comment::Other),
            ("# AllowedIPs = 10.0.0.0/8", Comment::Other),
            ("#", Comment::Other),
            ("# Name =", Comment::Other),
        ] {
            assert_eq!(read(line), comment, "{line}");
        }
    }

    #[test]
    fn a_private_key_is_never_a_name() {
        for line in [
            "# -WGP- PrivateKey: QUJD",
            "#PrivateKey = QUJD",
            "# Name: x private key: QUJD",
            "# Private-Key QUJD",
        ] {
            assert_eq!(read(line), Comment::PrivateKey, "{line}");
        }
    }
}
