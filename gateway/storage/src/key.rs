//! The rule for keys: an alphabet that is safe in paths and in S3 names, so nothing is ever escaped.

use crate::StoreError;

/// S3 allows 1024 bytes; the difference is left for a bucket's prefix.
const MAX_LENGTH: usize = 900;

/// Accepts `files/0198…/original`; refuses `..`, absolute paths, hidden segments and characters to be
/// escaped.
pub(crate) fn validate(key: &str) -> Result<(), StoreError> {
    let valid = key.len() <= MAX_LENGTH && key.split('/').all(is_segment);
    if valid { Ok(()) } else { Err(StoreError::Key(key.chars().take(200).collect())) }
}

/// Refuses a leading dot, which excludes `.`, `..` and the staging folder.
fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && segment.len() <= 255
        && !segment.starts_with('.')
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._=-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::validate;

    #[test]
    fn keys_cannot_leave_the_store() {
        for good in ["a", "files/0198-ab/original", "files/x/web-1-2.mp4", "a=b/c_d"] {
            assert!(validate(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/a", "a/", "a//b", "..", "a/../b", "./a", ".staging/x", "a\\b", "a b", "a%2e", "é", "a\0"]
        {
            assert!(validate(bad).is_err(), "{bad}");
        }
        assert!(validate(&"a".repeat(256)).is_err());
    }
}
