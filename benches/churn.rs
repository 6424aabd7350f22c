//! Devices allocate and release in a pool that is 90 % full, first without and then with an old snapshot held
//! open.
//!
//! Rates are ratios to floors measured before, between and after, so that a slower machine does not look like
//! a bloated table. Baselines run a tenth of the time.

use anyhow::Result;

use crate::candidate::{BITMAP, Candidate, NEBULA, PROJECT, TEXTBOOK};
use crate::harness::Harness;
use crate::load::{Load, Run, pgbench};

const PREFIX: u32 = 14;
const LOAD: Load = Load { clients: 8, durable: false };

/// Prints the table.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    println!(
        "\n## Churn at 90 % full, 8 sessions, sync off: ratio to the floor (aim: keeps 0.9, then 0.7)\n"
    );
    println!(
        "| | seconds | first | last | keeps | with a held snapshot: first | last \
         | keeps of the start | MB before, after, held | log MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let seconds = harness.settings.churn_seconds;
    row(harness, NEBULA, seconds).await?;
    for baseline in [BITMAP, TEXTBOOK] {
        row(harness, baseline, (seconds / 10).max(4)).await?;
    }
    Ok(())
}

async fn row(harness: &Harness, candidate: Candidate, seconds: u32) -> Result<()> {
    let database = candidate.ready(harness, PREFIX, 90).await?;
    let client = database.connect().await?;
    // Twice as many devices as held addresses: half of them hold one at any time.
    let each = (1_u32 << (32 - PREFIX)) * 9 / 10 * 2 / LOAD.clients;
    let script = toggle(candidate, each);
    let churn = |seconds| pgbench(&harness.cluster, &database, &script, LOAD, seconds);

    let mut floors = vec![harness.floor(LOAD)?];
    let mut sizes = vec![candidate.size(&client).await?.0];
    let open = churn(seconds)?;
    sizes.push(candidate.size(&client).await?.0);
    floors.push(harness.floor(LOAD)?);

    let mut watcher = database.connect().await?;
    let snapshot =
        watcher.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead);
    let snapshot = snapshot.start().await?;
    snapshot.query_one("SELECT count(*) FROM pg_class", &[]).await?;
    let held = churn(seconds / 2)?;
    snapshot.rollback().await?;
    let (size, log) = candidate.size(&client).await?;
    sizes.push(size);
    floors.push(harness.floor(LOAD)?);

    let (first, last) = ends(&open);
    let (held_first, held_last) = ends(&held);
    let start = first / floors[0];
    let end = last / floors[1];
    let (held_start, held_end) = (held_first / floors[1], held_last / floors[2]);
    let megabytes: Vec<String> = sizes.iter().map(|size| format!("{:.0}", *size as f64 / 1e6)).collect();
    println!(
        "| {} | {seconds} + {} | {start:.2} ({first:.0}/s) | {end:.2} | {:.2} \
         | {held_start:.2} | {held_end:.2} | {:.2} | {} | {:.0} |",
        candidate.name,
        seconds / 2,
        end / start,
        held_end / start,
        megabytes.join(", "),
        log as f64 / 1e6
    );
    Ok(())
}

/// Toggles a random device: releases its address, or allocates one. Each session has its own devices.
fn toggle(candidate: Candidate, each: u32) -> String {
    let device = "md5(:device::text)::uuid";
    let pick = format!("\\set device random(1, {each}) * {} + :client_id\n", LOAD.clients);
    let (has, release, allocate) = if candidate.name == NEBULA.name {
        (
            format!(
                "EXISTS (SELECT FROM nebula.allocation WHERE device_id = {device} AND released_at IS NULL)"
            ),
            format!("nebula.release_ip({device})"),
            format!("nebula.allocate_ip('{PROJECT}', {device})"),
        )
    } else {
        (
            format!("baseline.has({device})"),
            format!("baseline.release({device})"),
            format!("baseline.allocate({device})"),
        )
    };
    format!("{pick}SELECT CASE WHEN {has} THEN {release} ELSE {allocate} END;")
}

/// Mean rate of the first and of the last tenth.
fn ends(run: &Run) -> (f64, f64) {
    let count = (run.windows.len() / 10).max(1).min(run.windows.len());
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    (mean(&run.windows[..count]), mean(&run.windows[run.windows.len() - count..]))
}
