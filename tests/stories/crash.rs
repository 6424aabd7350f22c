//! kill -9 of PostgreSQL in the middle of allocating.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use nebula_tests::cluster::Cluster;
use nebula_tests::eventually;
use uuid::Uuid;

const CYCLES: usize = 3;
const SESSIONS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_address_is_lost_or_held_twice() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    let database = cluster.database().await?;
    let client = database.connect().await?;
    let project: Uuid = client.query_one("SELECT nebula.create_project('crash')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.2.0.0/16')", &[&project]).await?;
    let mut promised: HashMap<Uuid, String> = HashMap::new();
    for _ in 0..CYCLES {
        let answered = Arc::new(AtomicUsize::new(0));
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|_| {
                let (database, answered) = (database.clone(), answered.clone());
                tokio::spawn(async move {
                    let mut held = Vec::new();
                    let Ok(client) = database.connect().await else { return held };
                    loop {
                        let device = Uuid::new_v4();
                        let row = client
                            .query_one("SELECT host(nebula.allocate_ip($1, $2))", &[&project, &device])
                            .await;
                        match row {
                            Ok(row) => held.push((device, row.get::<_, String>(0))),
                            // The server is gone; what it answered before, it has promised.
                            Err(_) => return held,
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        eventually("a hundred allocations", || async {
            Ok((answered.load(Ordering::Relaxed) > 100).then_some(()))
        })
        .await?;
        cluster.crash()?;
        for session in sessions {
            promised.extend(session.await?);
        }
        cluster.resume().await?;
        let client = database.connect().await?;
        let rows = client
            .query("SELECT device_id, host(ip) FROM nebula.project_allocations($1)", &[&project])
            .await?;
        let found: HashMap<Uuid, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for (device, ip) in &promised {
            assert_eq!(found.get(device), Some(ip), "an answered allocation survives");
        }
        let distinct: i64 = client
            .query_one("SELECT count(DISTINCT ip) FROM nebula.project_allocations($1)", &[&project])
            .await?
            .get(0);
        assert_eq!(distinct as usize, rows.len(), "no address twice");
        let law = "SELECT free + reserved + allocated + quarantined = size FROM nebula.pool_usage($1)";
        assert!(client.query_one(law, &[&project]).await?.get::<_, bool>(0));
    }
    Ok(())
}
