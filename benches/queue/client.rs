//! Other queues, which come as packages, measured through their own clients.
//!
//! Each is installed into target/ by its package manager; if that fails, the table leaves it out with the
//! reason.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nebula_tests::binary::{root, run as output};

use crate::harness::Harness;
use crate::load::Load;

/// Name, the program that runs it below the install folder or in PATH, the script, its argument.
const CLIENTS: [(&str, &str, &str, &str); 3] = [
    ("graphile-worker 0.17.3 (npm)", "node", "node.mjs", "graphile"),
    ("pg-boss 10.4.2 (npm)", "node", "node.mjs", "boss"),
    ("PgQueuer 1.6.0 (pip)", "python/bin/python", "pgqueuer_bench.py", ""),
];

/// Prints the table.
pub(super) async fn run(harness: &Harness) -> Result<()> {
    println!("\n## Other queues through their own clients: ratio to the floor with as many sessions\n");
    println!(
        "| | enqueue, 8 in flight | enqueue, 32 | batches of 1000 \
         | claim + complete, 32 | enqueue to start p50 | p99 |"
    );
    println!("|---|---|---|---|---|---|---|");
    let folder = root().join("target/bench-baselines");
    let mut skipped = Vec::new();
    for (name, program, script, argument) in CLIENTS {
        if let Err(error) = install(&folder, program) {
            skipped.push(format!("{name} is left out, it cannot be installed here: {error:#}"));
            continue;
        }
        let eight = harness.floor(Load { clients: 8, durable: true })?;
        let many = harness.floor(Load { clients: 32, durable: true })?;
        let figures = match measure(harness, &folder, program, script, argument).await {
            Ok(figures) => figures,
            Err(error) => {
                skipped.push(format!("{name} is left out, it failed: {error:#}"));
                continue;
            }
        };
        let figure =
            |key: &str| figures.get(key).copied().with_context(|| format!("{name} did not say {key}"));
        let ratio = |rate: f64, floor: f64| format!("{:.2} ({rate:.0}/s)", rate / floor);
        println!(
            "| {name} | {} | {} | {:.0}/s | {} | {:.1} ms | {:.1} ms |",
            ratio(figure("enqueue8")?, eight),
            ratio(figure("enqueue32")?, many),
            figure("batch")?,
            ratio(figure("work")?, many),
            figure("p50")?,
            figure("p99")?
        );
    }
    skipped.iter().for_each(|line| println!("\n{line}"));
    Ok(())
}

/// Installs what a baseline needs, once.
fn install(folder: &Path, program: &str) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let lists = lists();
    if program == "node" {
        if !folder.join("node_modules/pg-boss").exists() {
            std::fs::copy(lists.join("package.json"), folder.join("package.json"))?;
            output(
                Command::new("npm")
                    .args(["install", "--silent", "--no-audit", "--no-fund"])
                    .current_dir(folder),
            )?;
        }
        return Ok(());
    }
    if !folder.join(program).exists() {
        output(Command::new("python3").args(["-m", "venv"]).arg(folder.join("python")))?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    output(Command::new(folder.join(program)).args(pip).arg(lists.join("requirements.txt"))).map(drop)
}

/// Folder of the scripts and package lists.
fn lists() -> PathBuf {
    root().join("benches/baselines/queue")
}

/// Runs a queue's script on a new database; it prints one figure a line.
async fn measure(
    harness: &Harness,
    folder: &Path,
    program: &str,
    script: &str,
    argument: &str,
) -> Result<HashMap<String, f64>> {
    let database = harness.cluster.database().await?;
    let path = folder.join(program);
    let mut command = Command::new(if path.exists() { path } else { PathBuf::from(program) });
    // Node looks for packages beside the script.
    let copy = folder.join(script);
    std::fs::copy(lists().join(script), &copy)?;
    command.arg(copy).arg(argument).env("DATABASE_URL", database.url());
    command.env("SECONDS", harness.settings.seconds.to_string());
    let said = output(&mut command)?;
    let figure = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    Ok(said.lines().filter_map(figure).collect())
}
