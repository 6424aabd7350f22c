//! JSON that anybody may have put into the database.

use std::error::Error;

use serde_json::Value;
use tokio_postgres::types::{FromSql, Type, accepts};

/// Characters of a value that is kept as text.
const SHOWN: usize = 1000;

/// A column of type `json` or `jsonb` whose content no function restricts. PostgreSQL stores numbers without
/// a limit and thousands of levels, serde does not read them. Such a value becomes the beginning of its text, so that
/// one row cannot hide all others of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct FreeJson(pub Value);

impl<'a> FromSql<'a> for FreeJson {
    accepts!(JSON, JSONB);

    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        // The binary form of jsonb is a version and the text.
        let text = match (kind, raw) {
            (&Type::JSONB, [1, text @ ..]) => text,
            (&Type::JSONB, _) => return Err("a version of jsonb that is not known".into()),
            (_, text) => text,
        };
        let text = std::str::from_utf8(text)?;
        let as_text = |_| Value::String(text.chars().take(SHOWN).collect());
        Ok(Self(serde_json::from_str(text).unwrap_or_else(as_text)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        FreeJson::from_sql(&Type::JSONB, &[&[1], text.as_bytes()].concat()).unwrap().0
    }

    #[test]
    fn what_serde_cannot_read_is_shown_as_text() {
        assert_eq!(read(r#"{"x": [1, null]}"#), json!({"x": [1, null]}));
        let large = format!("1{}", "0".repeat(400));
        assert_eq!(read(&large), Value::String(large));
        let deep = ["[".repeat(5000), "]".repeat(5000)].concat();
        assert_eq!(read(&deep), Value::String("[".repeat(SHOWN)));
        assert!(FreeJson::from_sql(&Type::JSONB, b"\x02{}").is_err());
        assert_eq!(FreeJson::from_sql(&Type::JSON, b"{}").unwrap().0, json!({}));
    }
}
