//! A thousand sessions on one project, in waves that start at the same moment.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nebula_tests::invariants;
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::candidate::{PROJECT, nebula};
use crate::harness::Harness;

/// Sessions of a wave.
const WAVE: usize = 250;
/// Allocations of each session; the first one fills plans and caches.
const ALLOCATIONS_EACH: usize = 4;

/// Prints the table, and fails on a duplicate or any error.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let database = harness.cluster.database().await?;
    let admin = database.connect().await?;
    admin.batch_execute(&nebula(14)).await?;
    let project: Uuid = PROJECT.parse()?;
    let sessions = harness.settings.sessions;
    let (mut first, mut later) = (Vec::new(), Vec::new());
    let mut held: HashSet<IpAddr> = HashSet::new();
    for begun in (0..sessions).step_by(WAVE) {
        let size = WAVE.min(sessions - begun);
        let start = Arc::new(Barrier::new(size));
        let wave = (0..size).map(|_| {
            let (database, start) = (database.clone(), start.clone());
            tokio::spawn(async move {
                let client = database.connect().await?;
                start.wait().await;
                let mut answers = Vec::new();
                for _ in 0..ALLOCATIONS_EACH {
                    let begun = Instant::now();
                    let row = client
                        .query_one("SELECT nebula.allocate_ip($1, $2)", &[&project, &Uuid::new_v4()])
                        .await?;
                    answers.push((row.get::<_, IpAddr>(0), begun.elapsed()));
                }
                anyhow::Ok(answers)
            })
        });
        for session in try_join_all(wave).await? {
            for (number, (ip, time)) in session?.into_iter().enumerate() {
                ensure!(held.insert(ip), "{ip} was given out twice");
                if number == 0 { &mut first } else { &mut later }.push(time);
            }
        }
    }
    let usage = invariants::check(&admin, project).await?;
    ensure!(
        usage.allocated as usize == sessions * ALLOCATIONS_EACH,
        "{} addresses are held",
        usage.allocated
    );
    println!(
        "\n## Many sessions: {sessions} sessions in waves of {WAVE} on one project, no duplicate, no error\n"
    );
    println!("| | p50 | p99 | longest |\n|---|---|---|---|");
    for (words, mut times) in [("first call of a session", first), ("later calls", later)] {
        times.sort();
        let at = |share: f64| percentile(&times, share);
        println!("| {words} | {} | {} | {} |", at(0.5)?, at(0.99)?, at(1.0)?);
    }
    Ok(())
}

fn percentile(sorted: &[Duration], share: f64) -> Result<String> {
    let place = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1));
    let time = sorted.get(place - 1).context("nothing was measured")?;
    Ok(format!("{:.1} ms", time.as_secs_f64() * 1e3))
}
