//! The `ssl…` settings of a connection string, taken out of it.

use percent_encoding::percent_decode_str;

/// Settings that `tokio_postgres` does not know, or knows only in part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) mode: Option<String>,
    pub(crate) root_cert: Option<String>,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
}

impl TlsSettings {
    /// Takes a setting; answers whether it is one of these.
    fn take(&mut self, name: &str, value: impl FnOnce() -> String) -> bool {
        let place = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root_cert,
            "sslcert" => &mut self.cert,
            "sslkey" => &mut self.key,
            _ => return false,
        };
        // As in libpq, an empty value is no value.
        *place = Some(value()).filter(|value| !value.is_empty());
        true
    }
}

/// Separates the settings of TLS from the rest of a connection string, which is a URL or a list of
/// `name=value`.
pub(crate) fn split(text: &str) -> (String, TlsSettings) {
    let mut settings = TlsSettings::default();
    let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    let rest = if is_url { split_url(text, &mut settings) } else { split_list(text, &mut settings) };
    (rest, settings)
}

fn split_url(text: &str, settings: &mut TlsSettings) -> String {
    let start = query_start(text).unwrap_or(text.len());
    let Some((address, query)) = text.split_at_checked(start).filter(|(_, query)| !query.is_empty()) else {
        return text.to_owned();
    };
    let query = &query[1..];
    let decode = |value: &str| percent_decode_str(value).decode_utf8_lossy().into_owned();
    let others: Vec<_> = query
        .split('&')
        .filter(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            !settings.take(&decode(name), || decode(value))
        })
        .collect();
    if others.is_empty() { address.to_owned() } else { format!("{address}?{}", others.join("&")) }
}

/// The position of the question mark before the query. A password may hold one, too: it ends with the first
/// `@`, unless a slash and a question mark stand before that, since then it is part of the query.
fn query_start(text: &str) -> Option<usize> {
    let authority = text.find("://").map_or(0, |at| at + 3);
    let first = |text: &str| text.find('?').filter(|mark| text[authority..*mark].contains('/'));
    let credentials = text.find('@').filter(|at| first(&text[..*at]).is_none()).unwrap_or(0);
    text[credentials..].find('?').map(|mark| credentials + mark)
}

fn split_list(text: &str, settings: &mut TlsSettings) -> String {
    let mut others = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (pair, after) = rest.split_at(pair_length(rest));
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !settings.take(name.trim_end(), || unquote(value.trim())) {
            others.push(pair.trim_end());
        }
        rest = after.trim_start();
    }
    others.join(" ")
}

/// The length in bytes of the first `name = value`, whose value may be quoted.
fn pair_length(text: &str) -> usize {
    let Some(equals) = text.find('=') else { return text.len() };
    let value = text[equals + 1..].trim_start();
    let start = text.len() - value.len();
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in value.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => quoted = !quoted,
            _ if letter.is_whitespace() && !quoted => return start + at,
            _ => {}
        }
    }
    text.len()
}

/// A value without its quotes and backslashes.
fn unquote(value: &str) -> String {
    let bare = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value);
    let mut letters = bare.chars();
    let mut plain = String::with_capacity(bare.len());
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_tls_are_taken_out_of_both_forms_and_the_rest_stays() {
        for (text, rest) in [
            (
                "postgresql://u:p%3F@a:1,b:2/d?sslmode=verify-full&connect_timeout=3&sslrootcert=%2Fa%20b.crt",
                "postgresql://u:p%3F@a:1,b:2/d?connect_timeout=3",
            ),
            (
                "postgresql://u:p?w@h/d?sslmode=verify-full&sslrootcert=/a b.crt&application_name=a@b?c",
                "postgresql://u:p?w@h/d?application_name=a@b?c",
            ),
            ("postgres://u@h/d?sslmode=verify-full&sslrootcert=/a b.crt", "postgres://u@h/d"),
            (
                r"host=h  password = 'it\'s = a' sslmode = verify-full sslrootcert='/a b.crt'",
                r"host=h password = 'it\'s = a'",
            ),
        ] {
            let (kept, settings) = split(text);
            assert_eq!(kept, rest);
            assert_eq!(settings.mode.as_deref(), Some("verify-full"), "{text}");
            assert_eq!(settings.root_cert.as_deref(), Some("/a b.crt"), "{text}");
            kept.parse::<tokio_postgres::Config>().unwrap();
        }
    }

    #[test]
    fn a_string_without_settings_of_tls_is_left_as_it_is() {
        for text in ["postgresql://u:p@h/d", "postgresql://u:p@h/d?options=-c%20a%3Db", "host=h user=u"] {
            assert_eq!(split(text), (text.to_owned(), TlsSettings::default()));
        }
    }
}
