//! The extension and its baselines: scaling with sessions, and the effect of a full pool.

use anyhow::Result;

use crate::candidate::ALL;
use crate::harness::{COLUMNS, Harness, head};
use crate::load::Load;

/// Percentages of held addresses, for the columns on the right.
const FULL: [u32; 3] = [50, 90, 99];

/// Prints the table.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let title = "Baselines: ratio to the same floor; the last columns with 32 sessions, sync on";
    head(title, "allocation in an empty pool by", &["50 % full", "90 % full", "99 % full"]);
    let many = Load { clients: 32, durable: true };
    let cells = COLUMNS.map(|load| (load, 0)).into_iter().chain(FULL.map(|full| (many, full)));
    let cells: Vec<(Load, u32)> = cells.collect();
    for candidate in ALL {
        print!("| {} |", candidate.name);
        for (load, full) in &cells {
            let before = harness.floor(*load)?;
            let rate = candidate.measure(harness, *load, harness.settings.prefix, *full).await?.rate();
            let after = harness.floor(*load)?;
            print!(" {:.2} ({rate:.0}/s) |", rate * 2.0 / (before + after));
        }
        println!();
    }
    Ok(())
}
