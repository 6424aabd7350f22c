//! The reports in sql/admin run in psql without errors.

use std::fs::{self, File};

use anyhow::{Context, Result};
use nebula_tests::binary::{root, run};
use nebula_tests::cluster::{Cluster, Database};

/// Runs a report in psql on a database of the shared cluster and answers its output; stops at the first
/// error.
pub(crate) async fn report(database: &Database, script: &str, variables: &[&str]) -> Result<String> {
    let mut psql = Cluster::shared().await?.tool("psql");
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", database.name()]);
    for variable in variables {
        psql.args(["-v", variable]);
    }
    // psql runs as the server's user, which may not be able to read the workspace, so it gets the file as
    // standard input.
    run(psql.stdin(File::open(root().join("sql/admin").join(script))?)).context(script.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_runs_in_psql() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let client = database.connect().await?;
    client
        .batch_execute(
            "SELECT nebula.populate_pool(nebula.create_project('home', '10.42.0.0/16'), '10.42.0.0/24');
             SELECT nebula.allocate_ip(project_id, gen_random_uuid()) FROM nebula.project;
             SELECT nebula.register_node('alpha', 'alpha.example:51820')",
        )
        .await?;
    let mut scripts = 0;
    for script in fs::read_dir(root().join("sql/admin"))? {
        let script = script?.file_name();
        report(&database, script.to_str().context("a name that is no text")?, &[]).await?;
        scripts += 1;
    }
    assert!(scripts > 10, "{scripts}");
    for (script, variables, shown) in [
        ("usage.sql", vec!["project=home"], "10.42.0.0/24"),
        ("who.sql", vec!["ip=10.42.0.1"], "still held"),
        ("enrol.sql", vec!["project=home"], "nebulactl join"),
        ("nodes.sql", vec!["node=alpha", "days=30"], "alpha.example:51820"),
        ("peers.sql", vec!["node=alpha"], "differs"),
    ] {
        let text = report(&database, script, &variables).await?;
        assert!(text.contains(shown), "{script}: {text}");
    }
    Ok(())
}
