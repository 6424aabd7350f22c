//! The fields of a line of the log, in either of nebula's formats.

use serde_json::{Value, json};

/// Fields that the agent reads, where a line is text.
const NAMES: [&str; 12] = [
    "level",
    "msg",
    "error",
    "time",
    "certName",
    "vpnIp",
    "vpnAddrs",
    "udpAddr",
    "relay",
    "from",
    "newAddr",
    "tunnelCheck",
];

/// The fields of a line: JSON as the agent has nebula write it, or `level=error msg="…" error="…"` as nebula does by
/// itself, in `-test` and in a unit.
pub(super) fn fields_of(line: &str) -> Option<Value> {
    if let Ok(fields @ Value::Object(_)) = serde_json::from_str(line) {
        return Some(fields);
    }
    line.contains("level=").then(|| {
        let present = NAMES
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), value(name, text_field(line, name)?))));
        present.collect()
    })
}

/// The value as it stands in JSON: a text prints structures in Go's notation.
fn value(name: &str, text: String) -> Value {
    match (name, text.strip_suffix(" (relayed)")) {
        (_, _) if text == "<nil>" => Value::Null,
        ("vpnAddrs", _) => text.trim_matches(['[', ']']).split_whitespace().collect(),
        ("from", Some(relay)) => json!({ "relay": relay }),
        ("from", None) => json!({ "direct": text }),
        ("tunnelCheck", _) => {
            let words = text.trim_start_matches("map").trim_matches(['[', ']']).split_whitespace();
            words
                .filter_map(|word| word.split_once(':'))
                .map(|(name, word)| (name.to_owned(), Value::from(word)))
                .collect()
        }
        _ => text.into(),
    }
}

/// A value is quoted where it has blanks, with the escapes of JSON.
fn text_field(line: &str, name: &str) -> Option<String> {
    let after = |start: &str| line.find(start).map(|at| &line[at + start.len()..]);
    let value = match line.strip_prefix(&format!("{name}=")) {
        Some(first) => first,
        None => after(&format!(" {name}="))?,
    };
    match serde_json::Deserializer::from_str(value).into_iter::<String>().next() {
        Some(Ok(quoted)) if value.starts_with('"') => Some(quoted),
        _ => value.split(' ').next().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_in_text_read_as_in_json() {
        for (line, name, wanted) in [
            ("level=info vpnAddrs=[10.77.0.1]", "vpnAddrs", json!(["10.77.0.1"])),
            ("level=INFO vpnAddrs=\"[10.77.0.1 fd77::1]\" x=1", "vpnAddrs", json!(["10.77.0.1", "fd77::1"])),
            ("level=INFO from=192.0.2.1:4242 certName=a", "from", json!({ "direct": "192.0.2.1:4242" })),
            ("level=INFO from=\"192.0.2.3:4242 (relayed)\"", "from", json!({ "relay": "192.0.2.3:4242" })),
            (
                "level=info tunnelCheck=\"map[method:active state:dead]\"",
                "tunnelCheck",
                json!({ "method": "active", "state": "dead" }),
            ),
            ("level=info udpAddr=\"<nil>\" vpnIp=10.77.0.2", "udpAddr", Value::Null),
            ("level=info udpAddr=\"[2001:db8::1]:4242\"", "udpAddr", json!("[2001:db8::1]:4242")),
        ] {
            assert_eq!(fields_of(line).unwrap()[name], wanted, "{line}");
        }
    }
}
