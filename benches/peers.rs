//! The extension and its peers: how they scale with sessions, and what a full pool does to them.

use anyhow::Result;

use crate::contender::ALL;
use crate::ground::{COLUMNS, Ground, head};
use crate::load::Load;

/// Percent held, for the columns on the right.
const FULL: [u32; 3] = [50, 90, 99];

/// Prints the table.
pub(crate) async fn run(ground: &Ground) -> Result<()> {
    let title = "Peers: ratio to the same floor; the last columns with 32 sessions, sync on";
    head(title, "allocation in an empty pool by", &["50 % full", "90 % full", "99 % full"]);
    let crowd = Load { clients: 32, durable: true };
    let cells = COLUMNS.map(|load| (load, 0)).into_iter().chain(FULL.map(|full| (crowd, full)));
    let cells: Vec<(Load, u32)> = cells.collect();
    for contender in ALL {
        print!("| {} |", contender.name);
        for (load, full) in &cells {
            let before = ground.floor(*load)?;
            let rate = contender.measure(ground, *load, ground.settings.prefix, *full).await?.rate();
            let after = ground.floor(*load)?;
            print!(" {:.2} ({rate:.0}/s) |", rate * 2.0 / (before + after));
        }
        println!();
    }
    Ok(())
}
