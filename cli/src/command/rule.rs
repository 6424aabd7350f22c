//! `rule`: firewall rules of a project. They let in and out what a closed project would drop.

use clap::{Args, Subcommand};
use nebula_api::device::Device;
use nebula_api::firewall::Rule;
use nebula_api::project_options::ProjectOptions;
use serde_json::json;
use uuid::Uuid;

use super::{device, project};
use crate::client::Client;
use crate::context::Context;
use crate::error::{Result, UsageError};
use crate::output::clean;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the rules of a project
    Ls(project::Choice),
    /// Add a rule (administrators); it counts as soon as the project is closed: project options
    /// inbound=closed
    Add(Box<Add>),
    /// Remove a rule (administrators)
    Rm {
        /// Number of the rule, as `rule ls` shows it
        number: i64,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Add {
    /// Whether the rule allows packets to these devices (inbound) or from them (outbound)
    #[arg(value_parser = ["inbound", "outbound"])]
    direction: String,
    /// Protocol
    #[arg(long, value_parser = ["any", "tcp", "udp", "icmp"], default_value = "any")]
    protocol: String,
    /// Port, or first and last one: 443, 5000-5010 [default: any]
    #[arg(long, value_name = "PORT", value_parser = parse_ports)]
    port: Option<(i32, Option<i32>)>,
    /// The rule is for devices of this group [default: for all]
    #[arg(long, value_name = "GROUP", conflicts_with = "for_device")]
    for_group: Option<String>,
    /// The rule is for this device
    #[arg(long, value_name = "DEVICE")]
    for_device: Option<String>,
    /// The other side is in this group; in all of them, if given several times [default: any device]
    #[arg(long = "peer-group", value_name = "GROUP")]
    peer_groups: Vec<String>,
    /// The other side is this device
    #[arg(long, value_name = "DEVICE")]
    peer_device: Option<String>,
    /// The other side is in this network
    #[arg(long, value_name = "CIDR")]
    peer_network: Option<String>,
    /// Destination behind the device; needs nebula 1.9
    #[arg(long, value_name = "CIDR")]
    local_network: Option<String>,
    /// Its purpose, for people
    #[arg(long, default_value = "")]
    note: String,
    #[command(flatten)]
    project: project::Choice,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Ls(choice) => list(context, &client, &choice).await,
        Command::Add(arguments) => add(context, &client, *arguments).await,
        Command::Rm { number } => {
            client.delete(&format!("/api/firewall/{number}")).await?;
            context.output.confirm(&json!({ "ruleId": number }), || format!("Rule {number} is gone."))
        }
    }
}

async fn list(context: &Context, client: &Client, choice: &project::Choice) -> Result<()> {
    let query = [("projectId", choice.resolve(client).await?.project_id.to_string())];
    let rules: Vec<Rule> = client.get("/api/firewall", &query).await?;
    let devices: Vec<Device> = client.get("/api/devices", &query).await?;
    context.output.show(&rules, || {
        let rows = rules.iter().map(|rule| {
            let number = rule.rule_id.map(|number| number.to_string()).unwrap_or_default();
            let wanted = [
                rule.for_group.as_deref().map(|group| format!("group {}", clean(group))),
                rule.for_device.map(|id| device::name_in(&devices, id)),
            ];
            let [receiver, peer] = [words(wanted.into_iter().flatten()), peer(rule, &devices)];
            [
                number,
                rule.direction.clone(),
                rule.protocol.clone(),
                ports(rule),
                receiver,
                peer,
                clean(&rule.note),
            ]
        });
        let headings = [">RULE", "DIRECTION", "PROTOCOL", "PORT", "FOR", "PEER", "NOTE"];
        context.output.table(headings, rows.collect())
    })
}

async fn add(context: &Context, client: &Client, arguments: Add) -> Result<()> {
    let project = arguments.project.resolve(client).await?;
    let find = async |name: Option<&String>| -> Result<Option<Uuid>> {
        match name {
            Some(name) => Ok(Some(device::named(client, &arguments.project, name).await?.device_id)),
            None => Ok(None),
        }
    };
    let rule = Rule {
        rule_id: None,
        project_id: project.project_id,
        for_device: find(arguments.for_device.as_ref()).await?,
        remote_device: find(arguments.peer_device.as_ref()).await?,
        direction: arguments.direction,
        for_group: arguments.for_group,
        protocol: arguments.protocol,
        port_first: arguments.port.map(|(first, _)| first),
        port_last: arguments.port.and_then(|(_, last)| last),
        remote_groups: arguments.peer_groups,
        remote_cidr: arguments.peer_network,
        local_cidr: arguments.local_network,
        note: arguments.note,
    };
    let added: Rule = client.post("/api/firewall", &rule).await?;
    let number = added.rule_id.unwrap_or_default();
    context.output.confirm(&added, || format!("Rule {number} reaches every device within seconds."))?;
    let path = format!("/api/projects/{}/configuration", project.project_id);
    let options: ProjectOptions = client.get(&path, &[]).await?;
    let (stance, option) = match added.direction.as_str() {
        "inbound" => (options.inbound, "inbound"),
        _ => (options.outbound, "outbound"),
    };
    if stance.as_deref() == Some("open") {
        context.output.note(&format!(
            "the project lets everything through until it is closed: nebulactl project options {option}=closed"
        ));
    }
    Ok(())
}

fn ports(rule: &Rule) -> String {
    match (rule.port_first, rule.port_last) {
        (None, _) => "any".to_owned(),
        (Some(first), Some(last)) if last != first => format!("{first}-{last}"),
        (Some(first), _) => first.to_string(),
    }
}

fn peer(rule: &Rule, devices: &[Device]) -> String {
    let groups = rule.remote_groups.iter().map(|group| format!("group {}", clean(group)));
    let device = rule.remote_device.map(|id| device::name_in(devices, id));
    let local = rule.local_cidr.as_deref().map(|network| format!("to {network}"));
    words(groups.chain(device).chain(rule.remote_cidr.clone()).chain(local))
}

fn words(parts: impl Iterator<Item = String>) -> String {
    let text = parts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "any".to_owned() } else { text }
}

/// Parses `443` or `5000-5010`.
fn parse_ports(text: &str) -> std::result::Result<(i32, Option<i32>), UsageError> {
    let wrong = || UsageError::new("write a port from 1 to 65535, or two of them: 443, 5000-5010");
    let port = |text: &str| {
        let number = text.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        Ok::<_, UsageError>(i32::from(number))
    };
    match text.split_once('-') {
        None => Ok((port(text)?, None)),
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            if first > last { Err(wrong()) } else { Ok((first, Some(last))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_one_or_a_range() {
        assert_eq!(parse_ports("443"), Ok((443, None)));
        assert_eq!(parse_ports("5000-5010"), Ok((5000, Some(5010))));
        for wrong in ["", "0", "65536", "10-5", "a", "1-", "-1"] {
            assert!(parse_ports(wrong).is_err(), "{wrong}");
        }
    }
}
