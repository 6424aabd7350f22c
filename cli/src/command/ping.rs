//! `ping`: asks the gateway, or a device through the overlay, for a sign of life.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use nebula_api::health::Health;
use serde_json::json;

use super::project;
use crate::client;
use crate::context::Context;
use crate::device_folder::existing_folder;
use crate::error::{Code, Error, Result};
use crate::output::{clean, duration};

mod device;
mod echo;
mod find;

#[derive(Args, Debug)]
pub(crate) struct Ping {
    /// Name or overlay address of a device, which is asked through the overlay [default: the gateway is
    /// asked, over HTTP]
    #[arg(value_name = "NAME")]
    device: Option<String>,
    /// How often to ask a device
    #[arg(long, short, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
    /// Folder of this machine's device [default: /etc/nebula for root, else ./nebula-NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    project: project::Choice,
}

pub(crate) async fn run(context: &Context, arguments: Ping) -> Result<()> {
    let Ping { device, count, dir, project } = arguments;
    match device {
        Some(name) => {
            device::ping(context, &name, count, &dir.unwrap_or_else(existing_folder), &project).await
        }
        None => gateway(context).await,
    }
}

/// Prints `Pong` when the gateway answers. The state of the parts behind it is shown by `doctor`.
async fn gateway(context: &Context) -> Result<()> {
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
