//! `ping`: shows the gateway's version and the round-trip time.

use std::time::Instant;

use nebula_api::health::Health;
use serde_json::json;

use crate::client;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{clean, duration};

/// Prints `Pong` when the gateway answers. The state of the parts behind it is shown by `doctor`.
pub(crate) async fn run(context: &Context) -> Result<()> {
    let client = context.client()?;
    // The first request includes the time to connect.
    client.get_public("/health/live").await?;
    let started = Instant::now();
    let response = client.get_public("/health/live").await?;
    let elapsed = started.elapsed();
    if !response.status().is_success() {
        let detail = format!("{} answered {}", client.server(), response.status());
        return Err(Error::new(Code::Protocol, detail).hint("See what is wrong: nebulactl doctor"));
    }
    let version = client::json::<Health>(response).await?.version;
    let milliseconds = elapsed.as_secs_f64() * 1000.0;
    let value = json!({ "server": client.server(), "version": version, "roundTripMs": milliseconds });
    context.output.show(&value, || {
        let (server, version) = (client.server(), clean(&version));
        format!("Pong from {server} (nebula-gateway {version}) in {}", duration(elapsed))
    })
}
