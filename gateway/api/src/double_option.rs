//! Tells an absent field of a change (`None`) from null (`Some(None)`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<T: Serialize, S: Serializer>(
    value: &Option<Option<T>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.as_ref().and_then(Option::as_ref).serialize(serializer)
}

pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use crate::node::NodeChanges;

    #[test]
    fn null_clears_a_field_and_an_absent_one_stays() {
        for (text, wanted) in
            [("{}", None), (r#"{"softMaxPeers":null}"#, Some(None)), (r#"{"softMaxPeers":5}"#, Some(Some(5)))]
        {
            let changes: NodeChanges = serde_json::from_str(text).unwrap();
            assert_eq!(changes.soft_max_peers, wanted);
            assert_eq!(serde_json::to_string(&changes).unwrap(), text);
        }
    }
}
