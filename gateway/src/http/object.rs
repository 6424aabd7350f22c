//! JSON objects in requests.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, Visitor};
use serde_path_to_error::Track;

/// Between the path of the value at fault and the words, in the errors of [`Object`]: an error of serde is a text alone.
const MARK: char = '\u{1f}';

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
            Some(name) => Err(D::Error::custom(format!("{name}{MARK}it has no field {name:?}"))),
            None => Ok(Self(read)),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for ForeignObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields { unknown: None, read: PhantomData }).map(Self)
    }
}

/// An error of [`Object`], taken apart.
pub(crate) struct Fault {
    /// Path of the value at fault, such as `peers[0].name`.
    pub(crate) field: Option<String>,
    pub(crate) words: String,
}

impl Fault {
    pub(crate) fn of(error: &str) -> Self {
        let Some((path, words)) = error.split_once(MARK) else {
            return Self { field: None, words: error.to_owned() };
        };
        let object = if path == "." { "" } else { path };
        let field = match missing_field(words) {
            Some(name) if object.is_empty() => name.to_owned(),
            Some(name) => format!("{object}.{name}"),
            None => object.to_owned(),
        };
        Self { field: Some(field).filter(|field| !field.is_empty()), words: words.to_owned() }
    }
}

/// The field that an error of serde says is missing; the path of the error is that of the object around it.
pub(crate) fn missing_field(words: &str) -> Option<&str> {
    words.strip_prefix("missing field `")?.split_once('`').map(|(name, _)| name)
}

/// A path as serde_ignored writes it, `peers.0.?.name`, in the form of the others.
fn json_path(path: &str) -> String {
    let mut written = String::new();
    for part in path.split('.').filter(|part| *part != "?") {
        match part.parse::<u64>() {
            Ok(index) => written += &format!("[{index}]"),
            Err(_) if written.is_empty() => written += part,
            Err(_) => written += &format!(".{part}"),
        }
    }
    written
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
        let mut track = Track::new();
        let fields = serde_path_to_error::Deserializer::new(MapAccessDeserializer::new(fields), &mut track);
        let read = match self.unknown {
            None => T::deserialize(fields),
            Some(unknown) => {
                let mut note = |path: serde_ignored::Path<'_>| {
                    unknown.get_or_insert_with(|| json_path(&path.to_string()).chars().take(80).collect());
                };
                T::deserialize(serde_ignored::Deserializer::new(fields, &mut note))
            }
        };
        read.map_err(|error| A::Error::custom(format!("{}{MARK}{error}", track.path())))
    }
}

#[cfg(test)]
mod tests {
    use nebula_api::auth::LoginRequest;
    use nebula_api::peer::CreatePeers;
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

    #[test]
    fn the_path_of_a_wrong_or_missing_value_is_named() {
        let project = "0198c0de-0000-7000-8000-000000000000";
        let peer = json!({"name": "a", "publicKey": "b"});
        let with = |change: fn(&mut serde_json::Value)| {
            let mut body = json!({"projectId": project, "peers": [peer.clone(), peer.clone()]});
            change(&mut body);
            from_str::<Object<CreatePeers>>(&body.to_string()).map(drop)
        };
        with(|_| ()).unwrap();
        for (read, field) in [
            (with(|body| body["projectId"] = json!(7)), "projectId"),
            (with(|body| drop(body.as_object_mut().unwrap().remove("projectId"))), "projectId"),
            (with(|body| body["peers"][1]["name"] = json!([])), "peers[1].name"),
            (with(|body| drop(body["peers"][1].as_object_mut().unwrap().remove("name"))), "peers[1].name"),
            (with(|body| body["peers"][0]["nme"] = json!("")), "peers[0].nme"),
            (with(|body| body["pears"] = json!("")), "pears"),
        ] {
            let fault = Fault::of(&read.unwrap_err().to_string());
            assert_eq!(fault.field.as_deref(), Some(field), "{}", fault.words);
            assert!(!fault.words.contains(MARK));
        }
        let fault = Fault::of(&from_str::<Object<CreatePeers>>("[]").unwrap_err().to_string());
        assert!(fault.field.is_none(), "{}", fault.words);
    }
}
