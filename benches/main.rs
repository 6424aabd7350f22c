//! `make bench`: every table of the README, measured in one run on one server, as ratios to a floor.
//!
//! Arguments choose tables; `settings.rs` lists the variables that shorten them.

mod agents;
mod allocation;
mod certificate;
mod churn;
mod contender;
mod cpu;
mod crowd;
mod ground;
mod load;
mod peers;
mod queue;
mod register;
mod settings;
mod size;

use anyhow::{Result, bail};

use ground::Ground;
use settings::Settings;

const TABLES: [&str; 9] =
    ["allocation", "peers", "size", "crowd", "queue", "certificate", "register", "agents", "churn"];

#[tokio::main]
async fn main() -> Result<()> {
    let mut chosen: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = chosen.iter().find(|name| !TABLES.contains(&name.as_str())) {
        bail!("there is no table \"{unknown}\"; there are {}", TABLES.join(", "));
    }
    if chosen.is_empty() {
        chosen = TABLES.map(str::to_owned).into();
    }
    let settings = Settings::read()?;
    println!("{}", load::machine()?);
    for table in chosen {
        if table == "certificate" {
            certificate::run_table(&settings)?;
            continue;
        }
        // A server each, so that no table pays for what another left behind.
        let mut ground = Ground::prepare(settings).await?;
        match table.as_str() {
            "allocation" => allocation::run(&ground).await?,
            "peers" => peers::run(&ground).await?,
            "size" => size::run(&mut ground).await?,
            "queue" => queue::run(&ground).await?,
            "crowd" => crowd::run(&ground).await?,
            "agents" => agents::run(&ground).await?,
            "register" => register::run(&ground).await?,
            _ => churn::run(&ground).await?,
        }
    }
    Ok(())
}
