//! Ranges and whole files by gateway and nginx, from the page cache.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use nebula_tests::stack::Stack;
use rand::RngExt;

use super::http::Connection;
use super::measure::median;
use super::nginx::Nginx;
use super::slow_readers;
use super::uploads::{self, Target};
use crate::cpu;
use crate::harness::Harness;

const CONNECTIONS: usize = 16;
const RANGE: u64 = 1024 * 1024;

/// A server of one file.
pub(crate) struct Server<'a> {
    name: &'static str,
    pub(crate) address: std::net::SocketAddr,
    /// Request line and headers, without the empty line.
    pub(crate) request: Arc<str>,
    /// Seconds of its processor time so far.
    cpu: Box<dyn Fn() -> Result<f64> + 'a>,
}

/// The measurements of a server; one number for each round.
#[derive(Debug, Default)]
struct Rounds {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Milliseconds of processor time of each range.
    each: Vec<f64>,
    /// Gigabytes of a whole file in a second, and seconds of processor time of each.
    whole: Vec<f64>,
    cost: Vec<f64>,
}

/// Prints the tables.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let settings = &harness.settings;
    let size = u64::from(settings.file_mib) << 20;
    let stack = Stack::start_on(harness.cluster.database().await?, "25519").await?;
    let api = stack.admin().await?;
    let target = Target::of(&stack, &api)?;
    let file = uploads::once(&target, "film.bin", size).await?;
    let nginx = Nginx::start(&stack.path("")).await?;
    // The same bytes of the same disk, so the same pages of the cache.
    let stored = stack.stored()?;
    let stored = stored.iter().find(|path| path.metadata().is_ok_and(|found| found.len() == size));
    fs::hard_link(stored.context("the file is not in the store")?, nginx.path("film.bin"))?;
    let gateway = stack.gateway_id()?;
    let servers = [
        Server {
            name: "gateway, with PostgreSQL",
            address: target.address,
            request: format!(
                "GET /api/files/{file}/content HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}",
                api.tokens.access_token
            )
            .into(),
            cpu: Box::new(|| Ok(cpu::family(gateway)? + cpu::server(&harness.cluster)?)),
        },
        Server {
            name: "nginx",
            address: nginx.address,
            request: "GET /film.bin HTTP/1.1\r\nhost: bench".into(),
            cpu: Box::new(|| nginx.cpu()),
        },
    ];
    let mut rounds: [Rounds; 2] = Default::default();
    for _ in 0..settings.rounds {
        for (server, rounds) in servers.iter().zip(&mut rounds) {
            random(server, size, Duration::from_secs(settings.seconds.into()), rounds).await?;
            whole(server, size, rounds).await?;
        }
    }
    print(settings.rounds, size, &servers, rounds);
    slow_readers::run(&stack, &nginx, file, settings.readers).await
}

fn print(count: usize, size: u64, servers: &[Server<'_>; 2], rounds: [Rounds; 2]) {
    println!(
        "\n## A file of {} MiB, {CONNECTIONS} connections that ask for 1 MiB at random, then one that asks for \
         all, medians of {count} rounds\n",
        size >> 20
    );
    println!("| | ranges/s | p50 | p99 | processor time of each | whole file | processor time of a GB |");
    println!("|---|---|---|---|---|---|---|");
    let mut compared = [[0.0; 2]; 2];
    for ((server, rounds), compared) in servers.iter().zip(rounds).zip(&mut compared) {
        let [rate, cost] = [median(rounds.rate), median(rounds.cost)];
        let [p50, p99, each] = [rounds.p50, rounds.p99, rounds.each].map(median);
        println!(
            "| {} | {rate:.0} | {p50:.1} ms | {p99:.1} ms | {each:.2} ms | {:.2} GB/s | {cost:.3} s |",
            server.name,
            median(rounds.whole)
        );
        *compared = [rate, cost];
    }
    let [gateway, nginx] = compared;
    println!(
        "\nRanges: {:.2} times nginx's rate. Whole files: {:.2} times its processor time.",
        gateway[0] / nginx[0],
        gateway[1] / nginx[1]
    );
}

/// Ranges at random places on several connections.
async fn random(server: &Server<'_>, size: u64, time: Duration, rounds: &mut Rounds) -> Result<()> {
    let (before, begun) = ((server.cpu)()?, Instant::now());
    let clients = (0..CONNECTIONS).map(|_| {
        let (address, request) = (server.address, Arc::clone(&server.request));
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut times = Vec::new();
            while begun.elapsed() < time {
                let at = rand::rng().random_range(0..size - RANGE);
                let request = format!("{request}\r\nrange: bytes={at}-{}\r\n\r\n", at + RANGE - 1);
                let call = Instant::now();
                let head = connection.ask(&request).await?;
                connection.finish(&head).await?;
                times.push(call.elapsed().as_secs_f64() * 1000.0);
            }
            anyhow::Ok(times)
        })
    });
    let mut times = Vec::new();
    for client in try_join_all(clients).await? {
        times.extend(client?);
    }
    let count = times.len() as f64;
    rounds.rate.push(count / begun.elapsed().as_secs_f64());
    rounds.each.push(((server.cpu)()? - before) * 1000.0 / count);
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((count * share) as usize).copied().unwrap_or(f64::NAN);
    rounds.p50.push(at(0.5));
    rounds.p99.push(at(0.99));
    Ok(())
}

async fn whole(server: &Server<'_>, size: u64, rounds: &mut Rounds) -> Result<()> {
    let mut connection = Connection::open(server.address).await?;
    let (before, begun) = ((server.cpu)()?, Instant::now());
    let head = connection.ask(&format!("{}\r\n\r\n", server.request)).await?;
    connection.finish(&head).await?;
    let gigabytes = size as f64 / 1e9;
    rounds.whole.push(gigabytes / begun.elapsed().as_secs_f64());
    rounds.cost.push(((server.cpu)()? - before) / gigabytes);
    Ok(())
}
