//! `peer import`: the peers of another WireGuard server's `wg0.conf`.

use std::io::{Read, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use ipnetwork::IpNetwork;
use nebula_api::node::Node;
use nebula_api::peer::{CreatePeers, NewPeer, PeerResult};
use serde_json::{Value, json};
use uuid::Uuid;

use super::plan::{Plan, PlannedPeer, plan};
use super::{Traffic, conf, find, server_conf};
use crate::client::Client;
use crate::command::line::parse_line;
use crate::command::project;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Doing, Result};
use crate::output::{Output, clean};

/// Peers of one request; the gateway takes bodies of up to 64 kB.
const BATCH: usize = 100;

/// A file with ten thousand peers has 2 MB.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

#[derive(Args, Debug)]
pub(crate) struct Import {
    /// The server's wg0.conf; - is standard input
    file: PathBuf,
    #[command(flatten)]
    project: project::Choice,
    /// Node that serves them: auto, local, a node by name or id, capability:WORD, label:KEY=VALUE
    #[arg(long, default_value = "auto", value_parser = parse_line)]
    strategy: String,
    #[command(flatten)]
    traffic: Traffic,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Shows the plan; carries it out after a yes.
pub(super) async fn run(context: &Context, arguments: Import) -> Result<ExitCode> {
    let client = context.client()?;
    let text = read(&arguments.file)?;
    let known = find::of_project(&client, &arguments.project).await?;
    let pools = pools(&client, &arguments.strategy).await?;
    let plan = plan(server_conf::parse(&text), &known, pools.as_deref());
    drop(text);
    context.output.message(&describe(context.output, &plan))?;
    let mut document = json!(plan);
    let code = if plan.peers.is_empty() {
        context.output.message("There is nothing to create.")?;
        ExitCode::SUCCESS
    } else if !arguments.confirmation.is_given() && !Confirmation::can_ask() {
        context.output.message("Nothing was changed. With --yes these peers are created.")?;
        ExitCode::SUCCESS
    } else if arguments.confirmation.given(context, &question(&plan))? {
        let (code, results) = create(context, &client, &arguments, &plan).await?;
        document["results"] = json!(results);
        code
    } else {
        ExitCode::SUCCESS
    };
    if context.output.json {
        context.output.show(&document, String::new)?;
    }
    Ok(code)
}

fn read(file: &Path) -> Result<zeroize::Zeroizing<String>> {
    if file != Path::new("-") {
        return conf::read(file);
    }
    let mut text = zeroize::Zeroizing::new(String::new());
    stdin().take(MAX_BYTES).read_to_string(&mut text).doing(|| "read standard input".to_owned())?;
    Ok(text)
}

/// Networks of the node that the strategy names, or of all; none if only administrators may see them.
async fn pools(client: &Client, strategy: &str) -> Result<Option<Vec<IpNetwork>>> {
    let nodes = match client.get::<Vec<Node>>("/api/nodes", &[]).await {
        Err(error) if error.is_refusal() => return Ok(None),
        nodes => nodes?,
    };
    let name = strategy.strip_prefix("name:").or_else(|| strategy.strip_prefix("node:")).unwrap_or(strategy);
    let is_named = |node: &Node| {
        node.name == name || node.node_id.to_string() == name || (node.local && strategy == "local")
    };
    let any_named = nodes.iter().any(is_named);
    let chosen = nodes.iter().filter(|node| !any_named || is_named(node));
    let pools = chosen.flat_map(|node| &node.interfaces).flat_map(|interface| &interface.pools);
    let pools: Vec<IpNetwork> = pools.filter_map(|pool| pool.parse().ok()).collect();
    // An interface without a pool gets one with its first peer.
    Ok(if pools.is_empty() { None } else { Some(pools) })
}

fn describe(output: Output, plan: &Plan) -> String {
    let rows = plan.peers.iter().map(|peer| {
        [
            clean(&peer.name),
            peer.address.map_or_else(|| "next free".to_owned(), |address| address.to_string()),
            if peer.disabled { "disabled" } else { "enabled" }.to_owned(),
            if peer.preshared { "kept" } else { "-" }.to_owned(),
            peer.line.to_string(),
        ]
    });
    let mut text = output.table(["NAME", "ADDRESS", "STATE", "PRESHARED KEY", ">LINE"], rows.collect());
    for problem in &plan.problems {
        text.push_str(&format!("\nline {}: {}", problem.line, clean(&problem.text)));
    }
    text
}

fn question(plan: &Plan) -> String {
    match plan.peers.len() {
        1 => "Create this peer?".to_owned(),
        count => format!("Create these {count} peers?"),
    }
}

async fn create(
    context: &Context,
    client: &Client,
    arguments: &Import,
    plan: &Plan,
) -> Result<(ExitCode, Vec<Value>)> {
    let project_id = arguments.project.resolve(client).await?.project_id;
    let (mut documents, mut failed) = (Vec::new(), 0);
    for batch in plan.peers.chunks(BATCH) {
        let peers = batch.iter().map(|peer| new_peer(&arguments.traffic, peer)).collect();
        let request = CreatePeers { project_id, strategy: arguments.strategy.clone(), peers, wait: 0 };
        let results: Vec<PeerResult> = client.post("/api/peers", &request).await?;
        for (peer, result) in batch.iter().zip(results) {
            documents.push(json!(result));
            let Some(error) = result.error else { continue };
            failed += 1;
            if !context.output.json {
                context
                    .output
                    .error(&find::item_error(error).about(&format!("line {}, {}", peer.line, peer.name)));
            }
        }
    }
    let created = plan.peers.len() - failed;
    let count = plan.peers.len();
    let how = match created {
        0 => String::new(),
        _ => format!(
            " To let the clients go on with the .conf that they have, give their node the key of the old server, on the \
             node's machine: nebulactl node import-key {}. Otherwise each client needs its new .conf, with its own \
             private key: nebulactl peer conf --key-from OLD.conf",
            arguments.file.display()
        ),
    };
    context.output.message(&format!("{created} of {count} peers are created.{how}"))?;
    Ok((if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }, documents))
}

fn new_peer(traffic: &Traffic, peer: &PlannedPeer) -> NewPeer {
    NewPeer {
        peer_id: Some(Uuid::new_v4()),
        name: peer.name.clone(),
        public_key: peer.public_key.clone(),
        preshared: false,
        preshared_key: peer.preshared_key.as_ref().map(|key| key.text().to_owned().into()),
        address: peer.address.map(|address| address.to_string()),
        reach: traffic.reach().unwrap_or_default(),
        networks: traffic.networks.clone(),
        groups: traffic.groups.clone(),
        expires_at: None,
        disabled: peer.disabled,
    }
}
