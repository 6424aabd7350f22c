//! kill -9 of one server process or of all, at random moments, in the middle of allocating and releasing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nebula_tests::cluster::{Cluster, Database, PRELOAD};
use nebula_tests::{eventually, invariants, rounds};
use rand::RngExt;
use tokio_postgres::Client;
use uuid::Uuid;

const SESSIONS: usize = 8;
/// Small enough to be exhausted now and then, so that addresses are reused.
const POOL: &str = "10.2.0.0/22";

/// A session's knowledge of one of its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnownState {
    Holds(IpAddr),
    HoldsNone,
    /// The server crashed before it answered.
    Unknown,
}

/// Allocates and releases for its own devices until the server is gone; records every answer.
async fn work(
    database: Database,
    project: Uuid,
    mut known: HashMap<Uuid, KnownState>,
    answered: Arc<AtomicUsize>,
) -> HashMap<Uuid, KnownState> {
    let Ok(client) = database.connect().await else { return known };
    let devices: Vec<Uuid> = known.keys().copied().collect();
    loop {
        let device = devices[rand::rng().random_range(0..devices.len())];
        let before = known.insert(device, KnownState::Unknown).unwrap_or(KnownState::HoldsNone);
        match step(&client, project, device, before).await {
            Ok(after) => drop(known.insert(device, after)),
            Err(error) if error.as_db_error().is_some_and(|e| e.code().code() == "53400") => {
                known.insert(device, before);
                // The error may have left a transaction open. If the rollback fails, the next step fails,
                // too.
                drop(client.batch_execute("ROLLBACK").await);
            }
            Err(_) => return known,
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// One change, in a randomly chosen form of transaction.
async fn step(
    client: &Client,
    project: Uuid,
    device: Uuid,
    before: KnownState,
) -> Result<KnownState, tokio_postgres::Error> {
    let release = format!("SELECT nebula.release_ip('{device}')");
    let allocate = format!("SELECT nebula.allocate_ip('{project}', '{device}')");
    if before == KnownState::Unknown {
        // Whether or not the lost change was committed: now the device gets an address.
        return Ok(KnownState::Holds(client.query_one(&allocate, &[]).await?.get(0)));
    }
    let call = if before == KnownState::HoldsNone { &allocate } else { &release };
    let way = rand::rng().random_range(0..6);
    let done = match way {
        0 => {
            client.batch_execute(&format!("BEGIN; {call}; ROLLBACK")).await?;
            return Ok(before);
        }
        1 => {
            client.batch_execute(&format!("BEGIN; SAVEPOINT a; {call}; ROLLBACK TO a; COMMIT")).await?;
            return Ok(before);
        }
        2 => {
            client.batch_execute(&format!("BEGIN; SAVEPOINT a; {call}; ROLLBACK TO a")).await?;
            let row = client.query_one(call, &[]).await?;
            client.batch_execute("COMMIT").await?;
            row
        }
        _ => client.query_one(call, &[]).await?,
    };
    Ok(if before == KnownState::HoldsNone { KnownState::Holds(done.get(0)) } else { KnownState::HoldsNone })
}

/// Kills a random process of the server, or all of them.
async fn kill_at_random(cluster: &mut Cluster, database: &Database) -> Result<&'static str> {
    let observer = database.connect().await?;
    if rand::rng().random_bool(0.5) {
        cluster.crash().await?;
        cluster.resume().await?;
        return Ok("everything");
    }
    let begun = "SELECT pg_postmaster_start_time()::text, pid FROM pg_stat_activity
                  WHERE pid <> pg_backend_pid() ORDER BY random() LIMIT 1";
    // If the process has ended by itself meanwhile, chooses another.
    while !cluster.kill_backend(observer.query_one(begun, &[]).await?.get(1))? {}
    // The server ends every session before it recovers, also the observer's.
    eventually("the server to notice", || async {
        Ok(observer.simple_query("SELECT").await.is_err().then_some(()))
    })
    .await?;
    cluster.answers().await?;
    Ok("one process")
}

async fn no_address_is_lost_or_held_twice(preload: &str) -> Result<()> {
    let mut cluster = Cluster::start(&[preload]).await?;
    let database = cluster.database().await?;
    let client = database.connect().await?;
    let project: Uuid = client.query_one("SELECT nebula.create_project('crash')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, $2::text::inet)", &[&project, &POOL]).await?;
    let devices = || (0..150).map(|_| (Uuid::new_v4(), KnownState::HoldsNone)).collect();
    let mut sessions: Vec<HashMap<Uuid, KnownState>> = (0..SESSIONS).map(|_| devices()).collect();
    for cycle in 0..rounds(3, 50) {
        let answered = Arc::new(AtomicUsize::new(0));
        let working: Vec<_> = sessions
            .drain(..)
            .map(|known| tokio::spawn(work(database.clone(), project, known, answered.clone())))
            .collect();
        eventually("the sessions to be at work", || async {
            Ok((answered.load(Ordering::Relaxed) > 50).then_some(()))
        })
        .await?;
        // No event to wait for: the crash must come at a random moment.
        let moment = rand::rng().random_range(0..400);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        let what = kill_at_random(&mut cluster, &database).await?;
        for session in working {
            sessions.push(session.await?);
        }
        compare(&database, project, &mut sessions)
            .await
            .with_context(|| format!("cycle {cycle}, killed {what} after {moment} ms"))?;
    }
    invariants::exhaust(&database.connect().await?, project).await?;
    Ok(())
}

/// Changes that were confirmed before the crash must be there after it.
async fn compare(
    database: &Database,
    project: Uuid,
    sessions: &mut [HashMap<Uuid, KnownState>],
) -> Result<()> {
    let client = database.connect().await?;
    invariants::check(&client, project).await?;
    let held = "SELECT device_id, ip FROM nebula.project_allocations($1)";
    let found: HashMap<Uuid, IpAddr> =
        client.query(held, &[&project]).await?.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (device, known) in sessions.iter_mut().flatten() {
        let is = found.get(device).map_or(KnownState::HoldsNone, |ip| KnownState::Holds(*ip));
        ensure!(
            *known == is || *known == KnownState::Unknown,
            "device {device}: was told {known:?}, is {is:?}"
        );
        *known = is;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_address_is_lost_or_held_twice_with_the_extension_preloaded() -> Result<()> {
    no_address_is_lost_or_held_twice(PRELOAD).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_address_is_lost_or_held_twice_without_preloading() -> Result<()> {
    no_address_is_lost_or_held_twice("").await
}
