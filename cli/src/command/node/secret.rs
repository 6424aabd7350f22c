//! `node secret`: created by an administrator, stored on the device that represents the node.

use std::io::{Read, stdin};
use std::path::PathBuf;

use chrono::Utc;
use clap::Subcommand;
use nebula_api::node::{NewSecret, Retired, Secret};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::find::named;
use crate::agent::node_secret::NodeSecret;
use crate::agent::state;
use crate::client;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::device_folder::{existing_folder, no_agent};
use crate::error::{Code, Doing, Error, Result};
use crate::output::{Output, ago, clean};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the secrets of a node, without the secrets
    Ls {
        /// Name or id of the node
        node: String,
    },
    /// Make a secret and show it once: the first, or a second that is to replace it
    Make {
        /// Name or id of the node
        node: String,
    },
    /// Keep the secret that comes on standard input, as make --json writes it, for this device; its agent
    /// uses it at once
    Keep {
        /// Folder of the device [default: /etc/nebula for root, else ./nebula-NAME]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Retire a secret: of two the older, unless one is named
    Retire {
        /// Name or id of the node
        node: String,
        /// The secret to retire, even if it is the only one
        #[arg(long, value_name = "KEY")]
        key: Option<Uuid>,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let (name, verb) = match command {
        Command::Keep { dir } => return keep(context, dir.unwrap_or_else(existing_folder)),
        Command::Ls { node } => (node, Verb::List),
        Command::Make { node } => (node, Verb::Make),
        Command::Retire { node, key, confirmation } => (node, Verb::Retire(key, confirmation)),
    };
    let client = context.client()?;
    let node = named(&client, &name).await?;
    let path = format!("/api/nodes/{}/secret", node.node_id);
    let name = clean(&node.name);
    match verb {
        Verb::List => {
            let secrets: Vec<Secret> = client.get(&path, &[]).await?;
            context.output.show(&secrets, || table(context.output, &secrets))
        }
        Verb::Make => {
            let made: NewSecret = client.post(&path, &json!({})).await?;
            context.output.show(&made, || {
                format!(
                    "Key       {}\nSecret    {}\n\
                     It is not shown again. With --json, straight to the device of node {name}:\n\
                     nebulactl --json node secret make {name} | ssh HOST nebulactl node secret keep",
                    made.key_id,
                    clean(&made.secret)
                )
            })
        }
        Verb::Retire(key, confirmation) => {
            // Without a key only the older of two ends, as when one is replaced.
            if let Some(key) = key
                && !confirmation.given(context, &format!("End the secret {key} of node {name} for good?"))?
            {
                return Ok(());
            }
            let query: Vec<_> = key.map(|key| ("keyId", key.to_string())).into_iter().collect();
            let build = || Ok(client.request(Method::DELETE, &path).query(&query));
            let retired: Retired = client::data(client.send(build).await?).await?;
            context.output.confirm(&retired, || match node.secrets {
                1 => format!("Node {name} has no secret any more; its agent needs none."),
                _ => format!("Secret {} of node {name} is not valid any more.", retired.key_id),
            })
        }
    }
}

/// The commands that need the gateway.
enum Verb {
    List,
    Make,
    Retire(Option<Uuid>, Confirmation),
}

fn keep(context: &Context, folder: PathBuf) -> Result<()> {
    if state::identity(&folder)?.is_none() {
        return Err(no_agent(&folder));
    }
    let mut text = Zeroizing::new(String::new());
    // A secret is short; longer input is not read to its end.
    stdin().take(4096).read_to_string(&mut text).doing(|| "read standard input".to_owned())?;
    let made: NewSecret = serde_json::from_str(&text).map_err(|_| {
        Error::new(Code::InvalidArgument, "standard input is no secret of a node")
            .hint("Write it there with: nebulactl --json node secret make NODE")
    })?;
    let value = json!({ "nodeId": made.node_id, "keyId": made.key_id, "dir": folder });
    let key_id = made.key_id;
    NodeSecret::save(&folder, made)?;
    context
        .output
        .confirm(&value, || format!("Calls from {} are signed with {key_id} from now on.", folder.display()))
}

fn table(output: Output, secrets: &[Secret]) -> String {
    let now = Utc::now();
    let rows = secrets.iter().map(|secret| {
        [
            secret.key_id.to_string(),
            output.state(if secret.retired_at.is_some() { "retired" } else { "good" }),
            secret.used_at.map_or_else(|| "-".to_owned(), |at| ago(at, now)),
            format!("{} by {}", ago(secret.made_at, now), clean(&secret.made_by)),
        ]
    });
    output.table(["KEY", "STATE", "USED", "MADE"], rows.collect())
}
