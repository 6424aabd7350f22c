//! Uploads to the gateway, which hashes and syncs them, beside PUT to nginx, which does neither.

use std::fs::File;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nebula_tests::api::{Api, good};
use nebula_tests::stack::Stack;
use uuid::Uuid;

use super::http::{Connection, Head};
use super::measure::median;
use super::nginx::Nginx;
use crate::cpu;
use crate::harness::Harness;

/// Where uploads go.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    project: Uuid,
    token: String,
}

impl Target {
    pub(crate) fn of(stack: &Stack, api: &Api) -> Result<Self> {
        let token = api.tokens.access_token.clone();
        Ok(Self { address: address_of(&stack.url())?, project: stack.project, token })
    }
}

pub(crate) fn address_of(url: &str) -> Result<SocketAddr> {
    Ok(url.trim_start_matches("http://").parse()?)
}

/// Uploads in one request; answers the file. Its first bytes are random, since equal bytes are stored once.
pub(crate) async fn once(target: &Target, name: &str, size: u64) -> Result<Uuid> {
    let request = format!(
        "POST /api/files?projectId={}&name={name} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\n\
         content-type: application/octet-stream\r\ncontent-length: {size}\r\n\r\n",
        target.project, target.token
    );
    let head = send(target.address, &request, size).await?;
    file_of(&head, "location")
}

/// Uploads by tus, whose first request carries all bytes.
async fn resumable(target: &Target, name: &str, size: u64) -> Result<Uuid> {
    let [name, project] = [name, &target.project.to_string()].map(|text| BASE64_STANDARD.encode(text));
    let request = format!(
        "POST /api/uploads HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\ntus-resumable: 1.0.0\r\n\
         upload-length: {size}\r\nupload-metadata: filename {name},projectId {project}\r\n\
         content-type: application/offset+octet-stream\r\ncontent-length: {size}\r\n\r\n",
        target.token
    );
    let head = send(target.address, &request, size).await?;
    file_of(&head, "content-location")
}

/// The file that a response names.
fn file_of(head: &Head, header: &str) -> Result<Uuid> {
    let path = head.header(header).with_context(|| format!("no {header} in {}", head.text))?;
    Ok(path.rsplit('/').next().unwrap_or_default().parse()?)
}

async fn send(address: SocketAddr, request: &str, size: u64) -> Result<Head> {
    let first = Uuid::new_v4();
    Connection::open(address).await?.send(request, first.as_bytes(), size).await
}

/// Seconds and seconds of processor time of each gigabyte.
#[derive(Debug, Default)]
struct Rounds {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl Rounds {
    fn push(&mut self, begun: Instant, cpu: f64, size: u64) {
        let gigabytes = size as f64 / 1e9;
        self.wall.push(begun.elapsed().as_secs_f64() / gigabytes);
        self.cpu.push(cpu / gigabytes);
    }
}

/// Prints the table.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let settings = &harness.settings;
    let size = u64::from(settings.file_mib) << 20;
    let stack = Stack::start_on(harness.cluster.database().await?, "25519").await?;
    let api = stack.admin().await?;
    let target = Target::of(&stack, &api)?;
    let nginx = Nginx::start(&stack.path("")).await?;
    let gateway = stack.gateway_id()?;
    let [mut whole, mut tus, mut put, mut synced] = [(); 4].map(|()| Rounds::default());
    for _ in 0..settings.rounds {
        for (rounds, by_tus) in [(&mut whole, false), (&mut tus, true)] {
            let (before, begun) = (cpu::family(gateway)?, Instant::now());
            let file = match by_tus {
                false => once(&target, "film.bin", size).await?,
                true => resumable(&target, "film.bin", size).await?,
            };
            rounds.push(begun, cpu::family(gateway)? - before, size);
            good(api.delete(&format!("/api/files/{file}?permanently=true")).send().await?).await?;
        }
        let (before, begun) = (nginx.cpu()?, Instant::now());
        let request = format!("PUT /film.bin HTTP/1.1\r\nhost: bench\r\ncontent-length: {size}\r\n\r\n");
        send(nginx.address, &request, size).await?;
        let spent = nginx.cpu()? - before;
        put.push(begun, spent, size);
        // The gateway answers when the bytes survive a power cut.
        File::open(nginx.path("film.bin"))?.sync_all()?;
        synced.push(begun, spent, size);
        std::fs::remove_file(nginx.path("film.bin"))?;
    }
    println!("\n## Uploads of {} MiB, medians of {} rounds\n", settings.file_mib, settings.rounds);
    println!(
        "| | rate | ratio to nginx, synced | to nginx | processor time of a GB |\n|---|---|---|---|---|"
    );
    let [synced_wall, put_wall] = [&synced, &put].map(|rounds| median(rounds.wall.clone()));
    for (name, rounds) in [
        ("gateway, one request", whole),
        ("gateway, tus", tus),
        ("nginx PUT", put),
        ("nginx PUT, then synced", synced),
    ] {
        let wall = median(rounds.wall);
        println!(
            "| {name} | {:.0} MB/s | {:.2} | {:.2} | {:.2} s |",
            1000.0 / wall,
            synced_wall / wall,
            put_wall / wall,
            median(rounds.cpu)
        );
    }
    Ok(())
}
