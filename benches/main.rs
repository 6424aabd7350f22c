//! `make bench`: every table of the README, measured in one run on one server, as ratios to a floor.
//!
//! Arguments choose tables; `settings.rs` lists the variables that shorten them.

mod agents;
mod allocation;
mod baselines;
mod candidate;
mod certificate;
mod churn;
mod cpu;
mod direct_writes;
mod events;
mod harness;
mod load;
mod many_sessions;
mod media;
mod node;
mod peers;
mod proof;
mod queue;
mod register;
mod settings;
mod size;

use anyhow::{Result, bail};

use harness::Harness;
use settings::Settings;

const TABLES: [&str; 18] = [
    "allocation",
    "baselines",
    "size",
    "many_sessions",
    "queue",
    "direct_writes",
    "peers",
    "node",
    "proof",
    "events",
    "certificate",
    "register",
    "agents",
    "films",
    "workers",
    "ranges",
    "uploads",
    "churn",
];

/// The tables of films and files, by one name.
const MEDIA: [&str; 4] = ["films", "workers", "ranges", "uploads"];

#[tokio::main]
async fn main() -> Result<()> {
    let chosen = std::env::args().skip(1).flat_map(|name| match name.as_str() {
        "media" => MEDIA.map(str::to_owned).to_vec(),
        _ => vec![name],
    });
    let mut chosen: Vec<String> = chosen.collect();
    if let Some(unknown) = chosen.iter().find(|name| !TABLES.contains(&name.as_str())) {
        bail!("there is no table \"{unknown}\"; there are {}", TABLES.join(", "));
    }
    if chosen.is_empty() {
        chosen = TABLES.map(str::to_owned).into();
    }
    let settings = Settings::read()?;
    println!("{}", load::machine()?);
    for table in chosen {
        match table.as_str() {
            "certificate" => {
                certificate::run_table(&settings)?;
                continue;
            }
            "films" => {
                media::films::run_table(&settings)?;
                continue;
            }
            _ => {}
        }
        // A new server for each table, so that the tables do not affect each other.
        let mut harness = Harness::prepare(settings).await?;
        match table.as_str() {
            "allocation" => allocation::run(&harness).await?,
            "baselines" => baselines::run(&harness).await?,
            "size" => size::run(&mut harness).await?,
            "queue" => queue::run(&harness).await?,
            "direct_writes" => direct_writes::run(&harness).await?,
            "many_sessions" => many_sessions::run(&harness).await?,
            "peers" => peers::run(&harness).await?,
            "node" => node::run_table(&harness).await?,
            "proof" => proof::run(&harness).await?,
            "events" => events::run(&harness).await?,
            "agents" => agents::run(&harness).await?,
            "workers" => media::workers::run(&harness).await?,
            "ranges" => media::ranges::run(&harness).await?,
            "uploads" => media::uploads::run(&harness).await?,
            "register" => register::run(&harness).await?,
            _ => churn::run(&harness).await?,
        }
    }
    Ok(())
}
