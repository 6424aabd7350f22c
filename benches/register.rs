//! Registering devices over HTTP: address, two certificates, configuration and zip in one transaction;
//! compared with calling nebula-cert for each signature.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nebula_api::device::RegisterRequest;
use nebula_certificate::{Curve, KeyPair};
use nebula_tests::api::Api;
use nebula_tests::binary;
use nebula_tests::stack::Stack;
use tokio::process::Command;
use uuid::Uuid;

use crate::cpu::Cpu;
use crate::harness::Harness;
use crate::load::Load;

const CLIENTS: u32 = 16;

/// Prints the table.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let stack = Stack::start_on(harness.cluster.database().await?, "25519").await?;
    let admin = stack.database.connect().await?;
    admin.execute("SELECT nebula.populate_pool($1, '10.99.128.0/17', 'large')", &[&stack.project]).await?;
    let api = stack.admin().await?;
    let load = Load { clients: CLIENTS, durable: true };
    println!("\n## Registering a device, whole HTTP call, {CLIENTS} clients: ratio to a committed insert\n");
    println!(
        "| | a second | ratio | p50 | p99 | gateway + PostgreSQL + load, each |\n|---|---|---|---|---|---|"
    );
    let mut native = 0.0;
    for (name, forks) in [("as it is", false), ("signing by nebula-cert as a subprocess", true)] {
        let before = harness.floor(load)?;
        let begun = Cpu::now(&harness.cluster, &stack)?;
        let (rate, mut times) =
            clients(&stack, &api, Duration::from_secs(harness.settings.seconds.into()), forks).await?;
        let each = Cpu::now(&harness.cluster, &stack)?.each(begun, times.len());
        let floor = f64::midpoint(before, harness.floor(load)?);
        times.sort_unstable();
        let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1000.0;
        println!(
            "| {name} | {rate:.0} | {:.3} | {:.1} ms | {:.1} ms | {each} |",
            rate / floor,
            at(0.5),
            at(0.99)
        );
        if forks {
            println!("\nSigning in the process: {:.1} times as many devices a second.", native / rate);
        }
        native = rate;
    }
    Ok(())
}

/// Calls per second, and the time of each.
async fn clients(stack: &Stack, api: &Api, time: Duration, forks: bool) -> Result<(f64, Vec<Duration>)> {
    let [_, tool] = binary::nebula()?;
    let (folder, tool): (Arc<Path>, Arc<Path>) = (stack.path("").into(), tool.cert.into());
    let (begin, number) = (Instant::now(), Arc::new(AtomicU32::new(0)));
    let clients = (0..CLIENTS).map(|_| {
        let (api, number, folder, tool, project) =
            (api.clone(), number.clone(), folder.clone(), tool.clone(), stack.project);
        tokio::spawn(async move {
            let mut times = Vec::new();
            while begin.elapsed() < time {
                let request = RegisterRequest {
                    project_id: project,
                    device_id: Uuid::new_v4(),
                    device_name: format!("device-{}-{forks}", number.fetch_add(1, Relaxed)),
                    public_key: KeyPair::generate(Curve::Curve25519)?.public_key().pem(),
                    role: None,
                    endpoints: vec![],
                    enrolment_code: None,
                };
                let call = Instant::now();
                api.register(&request).await?;
                if forks {
                    sign(&tool, &folder, &request).await?;
                }
                times.push(call.elapsed());
            }
            anyhow::Ok(times)
        })
    });
    let mut all = Vec::new();
    for times in try_join_all(clients).await? {
        all.extend(times?);
    }
    Ok((all.len() as f64 / begin.elapsed().as_secs_f64(), all))
}

/// Signs with nebula-cert: input files, a process for each version, output files. The gateway's own signature
/// adds 2 %.
async fn sign(tool: &Path, folder: &Path, request: &RegisterRequest) -> Result<()> {
    let public = folder.join(format!("{}.pub", request.device_id));
    fs::write(&public, &request.public_key)?;
    for version in ["1", "2"] {
        let cert = folder.join(format!("{}-{version}.crt", request.device_id));
        let mut command = Command::new(tool);
        command.current_dir(folder).args([
            "sign",
            "-name",
            &request.device_name,
            "-networks",
            "10.99.0.1/16",
        ]);
        command.args(["-version", version, "-in-pub"]).arg(&public).arg("-out-crt").arg(&cert);
        let output = command.stdout(Stdio::null()).output().await.context("nebula-cert cannot be started")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::remove_file(cert)?;
    }
    Ok(fs::remove_file(public)?)
}
