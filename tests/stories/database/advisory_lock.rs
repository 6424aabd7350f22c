//! A role that may only connect can take every advisory lock that SQL offers; none of them is the
//! extension's.

use anyhow::{Context, Result};
use nebula_tests::cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_can_take_the_locks_of_the_extension() -> Result<()> {
    // Without preload allocations lock addresses, too.
    for cluster in Cluster::both().await? {
        let database = cluster.database().await?;
        let client = database.connect().await?;
        client.batch_execute("SET lock_timeout = '5s'").await?;
        let project: uuid::Uuid = client.query_one("SELECT nebula.create_project('p')", &[]).await?.get(0);
        client.execute("SELECT nebula.populate_pool($1, '10.1.0.0/24')", &[&project]).await?;
        // Locks that SQL could take, too: pg_locks shows 1 or 2 there, as pg_advisory_lock takes them.
        let foreign = "SELECT coalesce(string_agg(format('%s %s %s', classid, objid, objsubid), ', '), '')
                         FROM pg_locks
                        WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid IN (1, 2)";
        client
            .batch_execute(
                "SELECT nebula.enqueue_job('t', '{}'), nebula.enqueue_job('t', '{}');
                 SELECT nebula.complete_job(job_id, attempt) FROM nebula.claim_jobs('w', '{t}')",
            )
            .await?;
        client.batch_execute("BEGIN").await?;
        for call in [
            "nebula.allocate_ip((SELECT project_id FROM nebula.pool), gen_random_uuid())",
            "nebula.allocate_ip((SELECT project_id FROM nebula.pool), gen_random_uuid(), address => '10.1.0.9')",
            "nebula.depend_job((SELECT max(job_id) FROM nebula.job_waiting),
                               ARRAY[nebula.enqueue_job('t', '{}')])",
            "nebula.notify_usage((SELECT pool_id FROM nebula.pool))",
            "nebula.prune_jobs('0 s')",
            "nebula.maintain_jobs()",
            "nebula.maintain_pools()",
        ] {
            client.query(&format!("SELECT {call}"), &[]).await.with_context(|| call.to_owned())?;
            let taken: String = client.query_one(foreign, &[]).await?.get(0);
            assert_eq!(taken, "", "{call}");
        }
        client.batch_execute("COMMIT").await?;
    }
    Ok(())
}
