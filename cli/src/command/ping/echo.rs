//! ICMP echo requests. Root sends them by a raw socket; others where the kernel lets them
//! (`net.ipv4.ping_group_range`).

use std::net::IpAddr;
use std::time::Duration;

use surge_ping::{Client, Config, ICMP, PingIdentifier, PingSequence};
use tokio::time::sleep;

use crate::error::{Code, Error, Result};

/// The first request may have to wait for the handshake, by way of lighthouse and relay.
const FIRST_TIMEOUT: Duration = Duration::from_secs(6);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Between two requests.
const INTERVAL: Duration = Duration::from_millis(300);
const PAYLOAD: [u8; 56] = [0x6e; 56];

/// Sends this many requests; returns the times of the answers.
pub(super) async fn ask(address: IpAddr, count: u16) -> Result<Vec<Duration>> {
    let kind = if address.is_ipv4() { ICMP::V4 } else { ICMP::V6 };
    let client = Client::new(&Config::builder().kind(kind).build()).map_err(|error| {
        Error::new(Code::Io, format!("cannot open a socket for ICMP: {error}"))
            .hint("Run it as root: sudo nebulactl ping NAME")
    })?;
    let mut pinger = client.pinger(address, PingIdentifier(std::process::id() as u16)).await;
    let mut times = Vec::new();
    for sequence in 0..count {
        if sequence > 0 {
            sleep(INTERVAL).await;
        }
        pinger.timeout(if times.is_empty() && sequence == 0 { FIRST_TIMEOUT } else { TIMEOUT });
        // An error is an answer that has not come, or that nebula's firewall here has dropped.
        if let Ok((_, time)) = pinger.ping(PingSequence(sequence), &PAYLOAD).await {
            times.push(time);
        }
    }
    Ok(times)
}
