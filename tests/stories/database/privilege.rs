//! The service roles can execute the functions they need, and nothing else.

use anyhow::Result;
use nebula_tests::cluster::Cluster;
use nebula_tests::sql::error_of;
use tokio_postgres::error::SqlState;

#[tokio::test(flavor = "multi_thread")]
async fn service_roles_reach_no_table() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let admin = database.connect().await?;
    let tables = admin
        .query(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
              JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = 'nebula' AND c.relkind IN ('r', 'v', 'p')",
            &[],
        )
        .await?;
    assert!(tables.len() > 15);
    for role in ["nebula_gateway", "nebula_worker"] {
        let client = database.connect_as(role).await?;
        for table in &tables {
            let table: &str = table.get(0);
            let error = error_of(&client, &format!("SELECT FROM {table}")).await?;
            assert_eq!(*error.code(), SqlState::INSUFFICIENT_PRIVILEGE, "{role} on {table}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_administrator_may_use_the_raw_allocator() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    for (role, call) in [
        ("nebula_gateway", "SELECT nebula.allocate_ip(gen_random_uuid(), gen_random_uuid())"),
        ("nebula_gateway", "SELECT nebula.create_account('eve', '$argon2id$', 'admin')"),
        ("nebula_gateway", "SELECT nebula.claim_jobs('eve', '{transcode}')"),
        ("nebula_worker", "SELECT nebula.release_ip(gen_random_uuid())"),
        ("nebula_worker", "SELECT nebula.account_login('admin')"),
        ("nebula_worker", "SELECT nebula.enqueue_job('transcode', '{}')"),
    ] {
        let client = database.connect_as(role).await?;
        let error = error_of(&client, call).await?;
        assert_eq!(*error.code(), SqlState::INSUFFICIENT_PRIVILEGE, "{role}: {call}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_role_can_process_jobs() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let admin = database.connect().await?;
    let job: i64 = admin.query_one("SELECT nebula.enqueue_job('story', '{}')", &[]).await?.get(0);
    let worker = database.connect_as("nebula_worker").await?;
    let row = worker.query_one("SELECT job_id, attempt FROM nebula.claim_jobs('w', '{story}')", &[]).await?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i32>(1)), (job, 1));
    worker.execute("SELECT nebula.complete_job($1, 1)", &[&job]).await?;
    let late = worker.execute("SELECT nebula.heartbeat_job($1, 1)", &[&job]).await.unwrap_err();
    assert_eq!(late.code(), Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_services_run_as_a_role_that_is_no_superuser_and_cannot_log_in() -> Result<()> {
    let admin = Cluster::shared().await?.database().await?.connect().await?;
    let sql = "SELECT coalesce(string_agg(p.proname, ', '), '')
                 FROM pg_proc p
                 JOIN pg_roles r ON r.oid = p.proowner
                WHERE p.pronamespace = 'nebula'::regnamespace
                  AND p.prosecdef
                  AND (r.rolsuper OR r.rolcanlogin OR r.rolcreaterole OR r.rolbypassrls)
                  AND (has_function_privilege('nebula_gateway', p.oid, 'EXECUTE')
                       OR has_function_privilege('nebula_worker', p.oid, 'EXECUTE'))";
    assert_eq!(admin.query_one(sql, &[]).await?.get::<_, String>(0), "");
    let sql = "SELECT count(*) FROM pg_proc p WHERE p.proowner = 'nebula_owner'::regrole";
    assert!(admin.query_one(sql, &[]).await?.get::<_, i64>(0) > 100);
    Ok(())
}
