//! JSON objects in requests.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};

/// A JSON object with known fields alone. A field that is ignored because it is misspelt may widen what the
/// request asks for: a firewall rule with `remoteGroup` in place of `remoteGroups` would be one for everybody.
#[derive(Debug, Clone)]
pub(crate) struct Object<T>(pub(crate) T);

/// A JSON object of a client that is not developed together with the gateway, and may know fields that the
/// gateway does not.
#[derive(Debug, Clone)]
pub(crate) struct ForeignObject<T>(pub(crate) T);

impl<T> std::ops::Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> std::ops::Deref for ForeignObject<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut unknown = None;
        let read = deserializer.deserialize_map(Fields { unknown: Some(&mut unknown), read: PhantomData })?;
        match unknown {
            Some(name) => Err(D::Error::custom(format!("it has no field {name:?}"))),
            None => Ok(Self(read)),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for ForeignObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields { unknown: None, read: PhantomData }).map(Self)
    }
}

/// Reads the fields of an object. serde itself also reads a struct from an array of its fields in their order,
/// which would become part of the interface without being documented.
struct Fields<'a, T> {
    /// Where the path of the first unknown field goes.
    unknown: Option<&'a mut Option<String>>,
    read: PhantomData<T>,
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Fields<'_, T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        let fields = MapAccessDeserializer::new(fields);
        let Some(unknown) = self.unknown else { return T::deserialize(fields) };
        let mut note = |path: serde_ignored::Path<'_>| {
            unknown.get_or_insert_with(|| path.to_string().chars().take(80).collect());
        };
        T::deserialize(serde_ignored::Deserializer::new(fields, &mut note))
    }
}

#[cfg(test)]
mod tests {
    use nebula_api::auth::LoginRequest;
    use serde_json::{from_str, json};

    use super::*;

    #[test]
    fn an_array_is_no_object() {
        let read = |text| from_str::<Object<LoginRequest>>(text);
        assert_eq!(read(r#"{"username":"anna","password":"x"}"#).unwrap().username, "anna");
        for wrong in [r#"["anna","x"]"#, r#""anna""#, "null", "1"] {
            assert!(read(wrong).unwrap_err().to_string().contains("expected a JSON object"), "{wrong}");
            from_str::<ForeignObject<LoginRequest>>(wrong).unwrap_err();
        }
    }

    #[test]
    fn an_unknown_field_is_named_and_that_of_a_foreign_client_ignored() {
        let body = json!({"username": "anna", "password": "x", "remember": {"days": 30}}).to_string();
        let refusal = from_str::<Object<LoginRequest>>(&body).unwrap_err().to_string();
        assert!(refusal.contains("it has no field \"remember\""), "{refusal}");
        assert_eq!(from_str::<ForeignObject<LoginRequest>>(&body).unwrap().0.username, "anna");
    }
}
