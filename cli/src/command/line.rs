//! Texts of one line, as command-line arguments: names, groups, labels.

use crate::error::UsageError;

/// Refuses control characters and line breaks, which could forge further lines of a file or of a log.
pub(crate) fn parse_line(text: &str) -> Result<String, UsageError> {
    if text.chars().any(is_unsafe) {
        return Err(UsageError::new("it must be one line without control characters"));
    }
    match text.trim() {
        "" => Err(UsageError::new("it must not be empty")),
        text => Ok(text.to_owned()),
    }
}

/// Control characters, and the two line separators of Unicode.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Parses `KEY=VALUE`.
pub(crate) fn parse_label(text: &str) -> Result<(String, String), UsageError> {
    let (key, value) = text.split_once('=').ok_or_else(|| UsageError::new("write it as KEY=VALUE"))?;
    Ok((parse_line(key)?, parse_line(value)?))
}

/// Parses `yes` or `no`.
pub(crate) fn parse_yes(text: &str) -> Result<bool, UsageError> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(UsageError::new("it is yes or no")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_line_breaks_or_control_characters_is_refused() {
        assert_eq!(parse_line(" living room TV "), Ok("living room TV".to_owned()));
        for wrong in [
            "",
            " ",
            "a\n",
            "a\nPostUp = reboot",
            "a\rb",
            "a\tb",
            "a\0b",
            "\u{1b}[2J",
            "a\u{2028}b",
            "a\u{85}b",
        ] {
            assert!(parse_line(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn labels_are_a_key_and_a_value() {
        assert_eq!(parse_label("site=attic"), Ok(("site".to_owned(), "attic".to_owned())));
        for wrong in ["site", "=attic", "site=", "site=a\nb"] {
            assert!(parse_label(wrong).is_err(), "{wrong:?}");
        }
    }
}
