//! The check of an access token in the database, and what it adds to a read.

use anyhow::Result;
use nebula_tests::stack::Stack;

use crate::harness::Harness;
use crate::load::{Load, pgbench};

const LOADS: [Load; 2] = [Load { clients: 1, durable: false }, Load { clients: 8, durable: false }];

/// Prints the table.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let stack = Stack::start_on(harness.cluster.database().await?, "25519").await?;
    let token = stack.admin().await?.tokens.access_token;
    let admin = stack.database.connect().await?;
    let account: String =
        admin.query_one("SELECT account_id::text FROM nebula.account LIMIT 1", &[]).await?.get(0);
    let device = "SELECT nebula.list_devices";
    let scripts = [
        ("nothing", "SELECT 1;".to_owned()),
        ("nebula.actor(token)", format!("SELECT nebula.actor('{token}');")),
        ("the same token for the 100th time in a transaction", {
            let once = format!("SELECT nebula.actor('{token}');\n");
            format!("BEGIN;\n{}COMMIT;", once.repeat(100))
        }),
        ("list_devices for an account id", format!("{device}('{account}', '{}');", stack.project)),
        ("list_devices for a token", format!("{device}(nebula.actor('{token}'), '{}');", stack.project)),
    ];
    println!("\n## Proof of the caller: microseconds a transaction, without waiting for the disk\n");
    println!("| | {} | {} |\n|---|---|---|", LOADS[0], LOADS[1]);
    for (name, script) in scripts {
        let mut cells = Vec::new();
        for load in LOADS {
            let run = pgbench(&harness.cluster, &stack.database, &script, load, harness.settings.seconds)?;
            cells.push(format!("{:.1}", f64::from(load.clients) * 1e6 / run.rate()));
        }
        println!("| {name} | {} |", cells.join(" | "));
    }
    Ok(())
}
