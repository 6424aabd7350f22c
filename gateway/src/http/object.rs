//! JSON objects in requests.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

/// A value that is written as a JSON object. serde itself also reads a struct from an array of its fields in
/// their order, which would become part of the interface without being documented.
#[derive(Debug, Clone)]
pub(crate) struct Object<T>(pub(crate) T);

impl<T> std::ops::Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Fields<T> {
    type Value = Object<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use nebula_api::auth::LoginRequest;

    use super::*;

    #[test]
    fn an_array_is_no_object() {
        let read = |text| serde_json::from_str::<Object<LoginRequest>>(text);
        assert_eq!(read(r#"{"username":"anna","password":"x"}"#).unwrap().username, "anna");
        for wrong in [r#"["anna","x"]"#, r#""anna""#, "null", "1"] {
            assert!(read(wrong).unwrap_err().to_string().contains("expected a JSON object"), "{wrong}");
        }
    }
}
