//! Load by pgbench, and its results.

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nebula_tests::binary::run;
use nebula_tests::cluster::{Cluster, Database};

/// Number of sessions, and whether commits wait for the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) clients: u32,
    pub(crate) durable: bool,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sync {}, {}", if self.durable { "on" } else { "off" }, self.clients)
    }
}

/// The result of one run of pgbench.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    /// Committed transactions.
    pub(crate) transactions: f64,
    /// Seconds from the first to the last transaction, without connecting.
    pub(crate) seconds: f64,
    /// Transactions per second, for each second of the run.
    pub(crate) windows: Vec<f64>,
    /// The pool was full before the time was over.
    pub(crate) exhausted: bool,
}

impl Run {
    /// Committed transactions per second.
    pub(crate) fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.transactions / self.seconds } else { 0.0 }
    }
}

/// One line with the machine's processor and PostgreSQL's version.
pub(crate) fn machine() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let cores = std::thread::available_parallelism()?;
    let server = run(Command::new("pg_config").arg("--version"))?;
    Ok(format!("{cores} cores, {}, {}", model.trim_start_matches([' ', '\t', ':']), server.trim()))
}

/// Runs a script for some seconds, or until the pool is exhausted: then the functions fail, and pgbench ends
/// a session with its first failure.
pub(crate) fn pgbench(
    cluster: &Cluster,
    database: &Database,
    script: &str,
    load: Load,
    seconds: u32,
) -> Result<Run> {
    run_pgbench(cluster, database, script, load, &["--time", &seconds.to_string()])
}

/// Runs a script so many times in each session.
pub(crate) fn pgbench_times(
    cluster: &Cluster,
    database: &Database,
    script: &str,
    load: Load,
    times: u32,
) -> Result<Run> {
    run_pgbench(cluster, database, script, load, &["--transactions", &times.to_string()])
}

/// Runs a script once in each session, to measure the first call of a session.
pub(crate) fn first_calls(cluster: &Cluster, database: &Database, script: &str, load: Load) -> Result<Run> {
    run_pgbench(cluster, database, script, load, &["--transactions", "1"])
}

fn run_pgbench(
    cluster: &Cluster,
    database: &Database,
    script: &str,
    load: Load,
    length: &[&str],
) -> Result<Run> {
    let file = std::env::temp_dir().join(format!("nebula-bench-{}.sql", uuid::Uuid::new_v4()));
    fs::write(&file, script)?;
    let commit = if load.durable { "on" } else { "off" };
    let output = cluster
        .tool("pgbench")
        .env("PGOPTIONS", format!("-c synchronous_commit={commit}"))
        .args(["--no-vacuum", "--protocol=prepared", "--progress=1", "--define=n=0"])
        .args(["--jobs", &load.clients.min(2).to_string(), "--client", &load.clients.to_string()])
        .args(length)
        .arg("--file")
        .arg(&file)
        .arg(database.name())
        .output()?;
    fs::remove_file(file)?;
    let (said, complaints) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    let exhausted = !output.status.success();
    if exhausted && !(complaints.contains("exhausted") || complaints.contains("holds no address")) {
        bail!("pgbench failed:\n{said}{complaints}");
    }
    let transactions: f64 = after(&said, "number of transactions actually processed: ")?;
    let rate: f64 = after(&said, "tps = ").unwrap_or_default();
    let windows = complaints.lines().filter(|line| line.starts_with("progress: "));
    Ok(Run {
        transactions,
        seconds: if rate > 0.0 { transactions / rate } else { 0.0 },
        windows: windows.map(|line| after(line, " s, ")).collect::<Result<_>>()?,
        exhausted,
    })
}

/// The number that follows `label`.
fn after(text: &str, label: &str) -> Result<f64> {
    let rest = text.split_once(label).with_context(|| format!("pgbench did not say \"{label}\""))?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    Ok(rest[..end].parse()?)
}
