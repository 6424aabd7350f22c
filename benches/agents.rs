//! Ten thousand agents in long polls at one gateway: memory for each, and the time until all have a new
//! configuration.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use futures::future::try_join_all;
use nebula_api::device::RegisterRequest;
use nebula_api::dnapi::{Call, Message, kind};
use nebula_certificate::{Curve, KeyPair};
use nebula_tests::eventually;
use nebula_tests::stack::Stack;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use crate::cpu::Cpu;
use crate::harness::Harness;

/// Maximum number of concurrent calls.
const MAX_CONCURRENT: usize = 64;
/// Number of agents that start their long polls together, before the next group.
const GROUP: usize = 256;

/// All agents share one host key, because generating keys is not measured.
struct Agents {
    key: PKey<Private>,
    host_pem: String,
    gateway: String,
    concurrent: Semaphore,
}

/// Prints the table.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let count = harness.settings.agents;
    let stack = Stack::start_on(harness.cluster.database().await?, "25519").await?;
    let key = PKey::generate_ed25519()?;
    let devices = enrolled(&stack, count, &key.raw_public_key()?).await?;
    let pem = String::from_utf8(key.public_key_to_pem()?)?;
    let agents = Arc::new(Agents {
        host_pem: pem.replace("PUBLIC KEY", "DEFINED HOST ED25519 PUBLIC KEY"),
        gateway: stack.url().trim_start_matches("http://").to_owned(),
        concurrent: Semaphore::new(MAX_CONCURRENT),
        key,
    });

    let before = stack.gateway_memory()?;
    let (told, mut answers) = mpsc::unbounded_channel();
    let wait = |device: &Uuid| {
        let (agents, device, told) = (agents.clone(), *device, told.clone());
        tokio::spawn(async move {
            let mut connection = {
                let _permit = agents.concurrent.acquire().await?;
                agents
                    .send(device, kind::LONG_POLL_WAIT, &json!({ "supportedActions": ["DoConfigUpdate"] }))
                    .await?
            };
            let action = agents.answer(&mut connection).await?["data"]["action"].clone();
            ensure!(action == "DoConfigUpdate", "was told {action}");
            let heard = Instant::now();
            let _permit = agents.concurrent.acquire().await?;
            let keys = json!({
                "edPubkeyPEM": BASE64_STANDARD.encode(&agents.host_pem),
                "nonce": "MDEyMzQ1Njc4OWFiY2RlZg==",
            });
            let mut connection = agents.send(device, kind::DO_CONFIG_UPDATE, &keys).await?;
            let signed = agents.answer(&mut connection).await?;
            ensure!(signed["data"]["signature"].is_string(), "no configuration in {signed}");
            told.send((heard, Instant::now())).ok().context("nobody listens")
        })
    };
    let mut waiting = Vec::with_capacity(count);
    for group in devices.chunks(GROUP) {
        waiting.extend(group.iter().map(wait));
        let all = waiting.len() as f64;
        eventually("all agents to wait", || async {
            let metrics = reqwest::get(format!("{}/metrics", stack.url())).await?.text().await?;
            let line = metrics.lines().find_map(|line| line.strip_prefix("nebula_agents_waiting "));
            Ok(line.and_then(|number| number.parse::<f64>().ok()).filter(|number| *number >= all))
        })
        .await?;
    }
    let each = (stack.gateway_memory()?.saturating_sub(before)) as f64 / count as f64;

    let client = stack.database.connect().await?;
    let (spent, begin) = (Cpu::now(&harness.cluster, &stack)?, Instant::now());
    client.execute("SELECT nebula.bump_configuration($1)", &[&stack.project]).await?;
    drop(told);
    let (mut heard, mut fetched) = (Duration::ZERO, Duration::ZERO);
    while let Some((one, other)) = answers.recv().await {
        heard = heard.max(one - begin);
        fetched = fetched.max(other - begin);
    }
    for agent in try_join_all(waiting).await? {
        agent?;
    }
    let spent = Cpu::now(&harness.cluster, &stack)?.each(spent, count);
    println!("\n## {count} agents that wait at one gateway\n");
    println!(
        "| memory of the gateway for each | all know that there is a new configuration \
         | all have fetched it, signed | gateway + PostgreSQL + load for each |"
    );
    println!("|---|---|---|---|");
    println!(
        "| {:.1} kB | {:.2} s | {:.1} s | {spent} |",
        each / 1000.0,
        heard.as_secs_f64(),
        fetched.as_secs_f64()
    );
    Ok(())
}

/// Creates enrolled devices by plain SQL. The first one registers over HTTP, which creates the project's
/// authority.
async fn enrolled(stack: &Stack, count: usize, host_key: &[u8]) -> Result<Vec<Uuid>> {
    let first = RegisterRequest {
        project_id: stack.project,
        device_id: Uuid::new_v4(),
        device_name: "first".into(),
        public_key: KeyPair::generate(Curve::Curve25519)?.public_key().pem(),
        role: None,
        endpoints: vec![],
        enrolment_code: None,
    };
    stack.admin().await?.register(&first).await?;
    let client = stack.database.connect().await?;
    let devices: Vec<Uuid> = (0..count).map(|_| Uuid::new_v4()).collect();
    client.execute("UPDATE nebula.project SET certificate_versions = '{1}'", &[]).await?;
    client.execute("SELECT nebula.populate_pool($1, '10.99.128.0/17', 'large')", &[&stack.project]).await?;
    for statement in [
        "INSERT INTO nebula.device (device_id, project_id, name, curve, public_key)
         SELECT d, $2, 'agent-' || d, '25519', $3 FROM unnest($1::uuid[]) d",
        "SELECT count(*) FROM nebula.allocate_ips($2, $1) WHERE $3::bytea IS NOT NULL",
        "INSERT INTO nebula.certificate (fingerprint, project_id, device_id, name, version, curve, networks,
          unsafe_networks, groups,
                                         public_key, issuer, not_before, not_after, pem)
         SELECT sha256(uuid_send(d.device_id)), d.project_id, d.device_id, d.name, 1, '25519',
                nebula.device_networks(d.device_id)::inet[], '{}', '{}', $3, c.issuer,
                c.not_before, c.not_after, c.pem
           FROM nebula.device d, nebula.certificate c
          WHERE d.device_id = ANY ($1) AND c.name = 'first' AND c.version = 1 AND c.project_id = $2",
        "INSERT INTO nebula.agent (device_id, project_id, counter, acknowledged_counter, acknowledged_version)
         SELECT d, $2, 1, 1, (SELECT config_version FROM nebula.project WHERE project_id = $2)
           FROM unnest($1::uuid[]) d WHERE $3::bytea IS NOT NULL",
        "INSERT INTO nebula.agent_answer (device_id, counter, version, host_key, public_key)
         SELECT a.device_id, 1, a.acknowledged_version, $3, $3 FROM nebula.agent a
          WHERE a.device_id = ANY ($1) AND a.project_id = $2",
    ] {
        client.execute(statement, &[&devices, &stack.project, &host_key]).await?;
    }
    client.batch_execute("ANALYZE").await?;
    Ok(devices)
}

impl Agents {
    /// Sends a call on a new connection, as separate agents do.
    async fn send(&self, device: Uuid, kind: &str, value: &Value) -> Result<TcpStream> {
        let message =
            Message { kind: kind.into(), value: value.to_string().into_bytes(), timestamp: Utc::now() };
        let message = BASE64_STANDARD.encode(serde_json::to_string(&message)?);
        let signature = Signer::new_without_digest(&self.key)?.sign_oneshot_to_vec(message.as_bytes())?;
        let call = Call { version: 1, host_id: device.to_string(), counter: 1, message, signature };
        let body = serde_json::to_string(&call)?;
        let mut connection = TcpStream::connect(&self.gateway).await?;
        let head = format!(
            "POST /v1/dnclient HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all((head + &body).as_bytes()).await?;
        Ok(connection)
    }

    async fn answer(&self, connection: &mut TcpStream) -> Result<Value> {
        let mut text = String::new();
        connection.read_to_string(&mut text).await?;
        ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
        let body = text.split_once("\r\n\r\n").context("no body")?.1;
        Ok(serde_json::from_str(body)?)
    }
}
