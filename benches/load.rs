//! Load made by pgbench, and what it found.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use nebula_tests::binary::run;
use nebula_tests::cluster::{Cluster, Database};

/// Seconds of each measurement: long enough for thousands of commits, short enough for a whole table in minutes.
const SECONDS: u32 = 5;

/// One line naming the machine, because a figure without it says nothing.
pub(crate) fn machine() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let cores = std::thread::available_parallelism()?;
    let server = run(Command::new("pg_config").arg("--version"))?;
    Ok(format!("{cores} cores, {}, {}", model.trim_start_matches([' ', '\t', ':']), server.trim()))
}

/// Transactions per second of a one-statement script, run by `clients` sessions at once.
pub(crate) fn rate(cluster: &Cluster, database: &Database, script: &str, clients: u32) -> Result<f64> {
    let file = tempfile_script(script)?;
    let output = run(cluster
        .tool("pgbench")
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .args(["--client", &clients.to_string(), "--time", &SECONDS.to_string()])
        .arg("--file")
        .arg(&file)
        .arg(database.name()))?;
    fs::remove_file(file)?;
    let line =
        output.lines().find_map(|line| line.strip_prefix("tps = ")).context("pgbench printed no rate")?;
    Ok(line.split_whitespace().next().context("pgbench printed no number")?.parse()?)
}

/// A script that PostgreSQL's own user can read as well.
fn tempfile_script(script: &str) -> Result<std::path::PathBuf> {
    let path = std::env::temp_dir().join(format!("nebula-bench-{}.sql", uuid::Uuid::new_v4()));
    fs::write(&path, script)?;
    Ok(path)
}
