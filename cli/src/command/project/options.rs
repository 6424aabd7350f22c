//! `project options`: options that all devices of a project share.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Choice;
use crate::context::Context;
use crate::error::{Result, UsageError};
use crate::output::clean;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Options to change: mtu=1400 dnsPort=53 dnsDomain=home.arpa certificateVersions=1,2 syncOrder=inOrder; without a
    /// value, an option gets its default
    #[arg(value_name = "NAME=VALUE", value_parser = parse)]
    changes: Vec<(String, Value)>,
    #[command(flatten)]
    project: Choice,
}

/// Changes the options that are given, then shows all.
pub(super) async fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let client = context.client()?;
    let project = arguments.project.resolve(&client).await?;
    let path = format!("/api/projects/{}/configuration", project.project_id);
    // All that the gateway has: it may be newer than this program.
    let options: Map<String, Value> = if arguments.changes.is_empty() {
        client.get(&path, &[]).await?
    } else {
        // Values are sent unchecked, so that the rules are in the gateway only.
        client.patch(&path, &Value::Object(arguments.changes.into_iter().collect())).await?
    };
    context.output.show(&options, || {
        let rows = options.iter().map(|(name, value)| [clean(name), clean(&shown(value))]);
        context.output.table(["OPTION", "VALUE"], rows.collect())
    })
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A value that is valid JSON is sent as such, all others as text.
fn parse(text: &str) -> std::result::Result<(String, Value), UsageError> {
    let (name, value) = text.split_once('=').ok_or_else(|| UsageError::new("write it as NAME=VALUE"))?;
    let value = match (name, value) {
        // The text options that can be unset.
        ("syncOrder" | "dnsDomain", "") => json!(""),
        (_, "") => json!(0),
        ("certificateVersions", several) if several.contains(',') && !several.starts_with('[') => {
            serde_json::from_str(&format!("[{several}]")).unwrap_or_else(|_| json!(several))
        }
        (_, value) => serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
    };
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_values_are_json_or_text() {
        for (text, name, value) in [
            ("mtu=1400", "mtu", json!(1400)),
            ("punchy=false", "punchy", json!(false)),
            ("certificateVersions=[1,2]", "certificateVersions", json!([1, 2])),
            ("certificateVersions=1,2", "certificateVersions", json!([1, 2])),
            ("certificateVersions=2", "certificateVersions", json!(2)),
            ("syncOrder=inOrder", "syncOrder", json!("inOrder")),
            ("dnsPort=", "dnsPort", json!(0)),
            ("syncOrder=", "syncOrder", json!("")),
            ("dnsDomain=", "dnsDomain", json!("")),
        ] {
            assert_eq!(parse(text).unwrap(), (name.to_owned(), value), "{text}");
        }
        assert!(parse("mtu").is_err());
    }
}
