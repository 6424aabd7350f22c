//! `make bench`: every table of the README, measured in one run on one server, as ratios to a floor.

mod allocation;
mod load;

use anyhow::Result;

#[tokio::main]
async fn main() -> Result<()> {
    println!("{}\n", load::machine()?);
    allocation::run().await
}
