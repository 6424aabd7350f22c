//! `node interface`: WireGuard interfaces of a node.

use std::net::IpAddr;

use clap::{Args, Subcommand};
use nebula_api::node::{NodeInterface, NodeInterfaceRequest};
use serde_json::json;

use super::find;
use crate::command::endpoint::parse_endpoint;
use crate::command::line::parse_line;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Result, UsageError};
use crate::output::clean;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add an interface, or change the one of this name
    Set(Set),
    /// Remove an interface without peers
    Rm {
        /// Name or id of the node
        node: String,
        /// Name of the interface
        #[arg(value_parser = parse_name)]
        name: String,
        /// Even if its peers are not confirmed to be gone: their addresses are free at once
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Set {
    /// Name or id of the node
    node: String,
    /// Name of the interface, such as wg0
    #[arg(value_parser = parse_name)]
    name: String,
    /// UDP port [default of a new one: 51820]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// host:port for its peers [default: that of the node]
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_endpoint)]
    endpoint: Option<String>,
    /// MTU [default of a new one: 1280]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1280..))]
    mtu: Option<u16>,
    /// Name server for its peers
    #[arg(long, value_name = "IP")]
    dns: Vec<IpAddr>,
    /// Seconds between keep-alives of its peers, 0: none [default of a new one: 25]
    #[arg(long, value_name = "SECONDS")]
    keepalive: Option<u16>,
    /// Network for the addresses of its peers, outside of the overlay [default: chosen]
    #[arg(long, value_parser = parse_line)]
    cidr: Option<String>,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Set(Set { node, name, port, endpoint, mtu, dns, keepalive, cidr }) => {
            let node = find::named(&client, &node).await?;
            let dns = (!dns.is_empty()).then(|| dns.iter().map(IpAddr::to_string).collect());
            let endpoint = endpoint.map(Some);
            let request = NodeInterfaceRequest { listen_port: port, endpoint, mtu, dns, keepalive, cidr };
            let path = format!("/api/nodes/{}/interfaces/{name}", node.node_id);
            let set: NodeInterface = client.put(&path, &request).await?;
            context.output.confirm(&set, || {
                let pools = match set.pools.as_slice() {
                    [] => "a pool that is chosen with its first peer".to_owned(),
                    pools => clean(&pools.join(", ")),
                };
                let (node, name) = (clean(&node.name), clean(&set.name));
                format!("{name} of {node}: UDP port {}, addresses from {pools}.", set.listen_port)
            })
        }
        Command::Rm { node, name, force, confirmation } => {
            let node = find::named(&client, &node).await?;
            let question = format!("Remove interface {name} of node {} permanently?", clean(&node.name));
            if !confirmation.given(context, &question)? {
                return Ok(());
            }
            let path = format!("/api/nodes/{}/interfaces/{name}", node.node_id);
            client.delete_with(&path, &[("force", force.to_string())]).await?;
            let value = json!({ "nodeId": node.node_id, "name": name });
            context
                .output
                .confirm(&value, || format!("Interface {name} of {} is removed.", clean(&node.name)))
        }
    }
}

/// Names that Linux and the gateway take; none of them needs quoting in a path.
pub(super) fn parse_name(text: &str) -> std::result::Result<String, UsageError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = (1..=15).contains(&text.len()) && !text.starts_with('-') && text.chars().all(plain);
    if matches!(text, "lo" | "all" | "default") {
        return Err(UsageError::new("Linux uses this word itself; wg0 would do"));
    }
    if good { Ok(text.to_owned()) } else { Err(UsageError::new("up to 15 of a-z, 0-9 and -, such as wg0")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interfaces_are_short_and_need_no_quoting() {
        for good in ["wg0", "a", "0-phones", "abcdefghijklmno"] {
            assert!(parse_name(good).is_ok(), "{good}");
        }
        for wrong in
            ["", "-wg", "Wg0", "wg/0", "wg 0", "wg0\n", "..", "abcdefghijklmnop", "ü", "lo", "all", "default"]
        {
            assert!(parse_name(wrong).is_err(), "{wrong:?}");
        }
    }
}
