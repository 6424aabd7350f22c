//! The agent of a node with a thousand peers on a real wireguard-go: how long it takes to apply them, and what it costs
//! while nothing changes. In a network namespace, so it needs root.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nebula_tests::binary::{self, run};
use nebula_tests::device::{ControlLink, Device};
use nebula_tests::eventually;
use nebula_tests::netns::{Network, privileged};
use nebula_tests::stack::Stack;
use nebula_tests::wireguard::sockets;
use tokio_postgres::Client;

use crate::cpu;
use crate::harness::Harness;

/// As many as one call may create.
const PEERS: i32 = 1000;

const CREATE: &str = "SELECT count(error) FROM nebula.create_peers($1, ARRAY(
    SELECT jsonb_build_object('publicKey', encode(sha256(uuid_send(gen_random_uuid())), 'base64'),
                              'preshared', n % 2 = 0)
      FROM generate_series(1, $2) n))";

/// Prints the table.
pub(crate) async fn run_table(harness: &Harness) -> Result<()> {
    let stack = Stack::start_on(harness.cluster.database().await?, "25519").await?;
    let (network, link) = (Network::new(1)?, ControlLink::new(&stack)?);
    let [_, nebula] = binary::nebula()?;
    let mut node = Device::join(&stack, &network, &link, 1, &nebula, ("node", "lighthouse")).await?;
    let endpoint = format!("{}:51820", Network::address(1));
    let limit = PEERS.to_string();
    run(stack.ctl()?.args(["node", "register", "node", "--endpoint", &endpoint, "--max-peers", &limit]))?;
    run(stack.ctl()?.args(["node", "tie", "node", "--device", "node"]))?;
    node.set_sockets(&sockets(&stack.path(""), "node")?);
    node.start()?;
    let client = stack.database.connect().await?;
    settled(
        &client,
        "the interface to run",
        "SELECT count(*) FROM nebula.node_interface WHERE public_key IS NULL",
    )
    .await?;

    let created = Instant::now();
    let refused: i64 = client.query_one(CREATE, &[&stack.project, &PEERS]).await?.get(0);
    ensure!(refused == 0, "{refused} peers were refused");
    let wanted = Instant::now();
    let open = "SELECT count(*) FROM nebula.placement WHERE applied_generation < generation";
    settled(&client, "all peers to be applied", open).await?;
    let applied = wanted.elapsed();
    let pass = pass(&node.logs())?;

    // One that starts takes what it finds for settled, and does not look for first handshakes more often.
    node.kill()?;
    client.batch_execute("UPDATE nebula.node SET synced_at = NULL").await?;
    node.start()?;
    settled(&client, "the agent to report", "SELECT count(*) FROM nebula.node WHERE synced_at IS NULL")
        .await?;
    let [agent, wireguard] =
        ["nebulactl\0agent", "wireguard-go"].map(|line| process(&network.namespace(1), line));
    let (agent, wireguard) = (agent?, wireguard?);
    let window = Duration::from_secs(u64::from(harness.settings.seconds) * 6);
    let spent = [cpu::process(agent)?, cpu::process(wireguard)?];
    let begun = Instant::now();
    tokio::time::sleep(window).await;
    let share = |before: f64, now: f64| (now - before) * 100.0 / begun.elapsed().as_secs_f64();
    let agent = share(spent[0], cpu::process(agent)?);
    let wireguard = share(spent[1], cpu::process(wireguard)?);

    println!("\n## The agent of a node with {PEERS} peers\n");
    println!(
        "| {PEERS} peers created | applied in one pass | acknowledged after | {} s without changes: agent | wireguard-go |",
        window.as_secs()
    );
    println!("|---|---|---|---|---|");
    println!(
        "| {:.2} s | {:.2} s | {:.2} s | {agent:.2} % of a core | {wireguard:.2} % |",
        (wanted - created).as_secs_f64(),
        pass.as_secs_f64(),
        applied.as_secs_f64()
    );
    Ok(())
}

/// Waits until a count is 0.
async fn settled(client: &Client, what: &str, count: &str) -> Result<()> {
    eventually(what, || async {
        Ok((client.query_one(count, &[]).await?.get::<_, i64>(0) == 0).then_some(()))
    })
    .await
}

/// How long the pass took that applied the peers, as the agent logs it.
fn pass(logs: &str) -> Result<Duration> {
    let changed = format!("({PEERS} changed, 0 failed, ");
    let line = logs.lines().find_map(|line| line.split_once(&changed)).with_context(|| logs.to_owned())?.1;
    Ok(Duration::from_millis(line.trim_end_matches(" ms)").parse()?))
}

/// The process of a namespace whose command line has these words.
fn process(namespace: &str, words: &str) -> Result<i32> {
    let all = run(privileged("ip").args(["netns", "pids", namespace]))?;
    let is_it = |pid: &&str| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(words))
    };
    let pid =
        all.split_whitespace().find(is_it).with_context(|| format!("no {words} runs in {namespace}"))?;
    Ok(pid.parse()?)
}
