//! Clients that ask for a whole file and take nothing of it: the memory that each costs.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use nebula_tests::stack::Stack;
use uuid::Uuid;

use super::http::Connection;
use super::nginx::Nginx;
use super::uploads::address_of;

/// Readers of one account; the gateway lets it have this many transfers.
const OF_ACCOUNT: usize = 250;

/// Prints the memory of both servers with no readers, half of them, and all.
pub(crate) async fn run(stack: &Stack, nginx: &Nginx, file: Uuid, readers: usize) -> Result<()> {
    println!("\n## {readers} clients that take nothing of a whole file\n");
    println!("| | memory before | with half of them | with all | for each |\n|---|---|---|---|---|");
    let mut requests = Vec::new();
    for n in 0..readers.div_ceil(OF_ACCOUNT) {
        let api = stack.member(&format!("reader-{n}")).await?;
        let token = &api.tokens.access_token;
        requests.push(format!(
            "GET /api/files/{file}/content HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n"
        ));
    }
    let memory = || stack.gateway_memory();
    row("gateway", memory, address_of(&stack.url())?, &requests, readers).await?;
    let request = ["GET /film.bin HTTP/1.1\r\nhost: bench\r\n\r\n".to_owned()];
    row("nginx", || nginx.memory(), nginx.address, &request, readers).await
}

async fn row(
    name: &str,
    memory: impl Fn() -> Result<u64>,
    address: SocketAddr,
    requests: &[String],
    readers: usize,
) -> Result<()> {
    let mut connections = Vec::with_capacity(readers);
    let mut found = vec![memory()?];
    for n in 0..readers {
        let mut connection = Connection::small(address).await?;
        let request = requests.get(n / OF_ACCOUNT).or(requests.first()).context("no request")?;
        connection.ask(request).await?;
        connections.push(connection);
        if n + 1 == readers / 2 || n + 1 == readers {
            found.push(memory()?);
        }
    }
    let megabytes: Vec<_> = found.iter().map(|bytes| format!("{} MB", bytes / 1_000_000)).collect();
    let each =
        (found[found.len() - 1] - found[0].min(found[found.len() - 1])) as f64 / readers as f64 / 1000.0;
    println!("| {name} | {} | {each:.0} kB |", megabytes.join(" | "));
    Ok(())
}
