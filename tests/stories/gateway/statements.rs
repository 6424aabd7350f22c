//! Statements that the gateway sends for one request; each is a wait for the database.

use anyhow::{Context, Result};
use nebula_api::device::RegisterRequest;
use nebula_tests::cluster::Cluster;
use nebula_tests::stack::Stack;
use uuid::Uuid;

/// The statements in the server's log, without those of the tests and of the planner inside functions.
fn statements(log: &str) -> Vec<String> {
    let gateway = log.lines().filter(|line| line.contains("nebula-gateway"));
    let said = |line: &str| Some(line.split_once("LOG:  ")?.1.to_owned());
    gateway
        .filter_map(said)
        .filter(|text| text.starts_with("execute") || text.starts_with("statement"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_sends_five_statements() -> Result<()> {
    let logged = "log_statement = 'all'\nlog_line_prefix = '%a '";
    let cluster = Cluster::start(&["fsync=off", logged]).await?;
    let stack = Stack::start_on(cluster.database().await?, "25519").await?;
    let api = stack.admin().await?;
    let register = async |number: u8| {
        api.register(&RegisterRequest {
            project_id: stack.project,
            device_id: Uuid::new_v4(),
            device_name: format!("device{number}"),
            public_key: hex::encode([number; 32]),
            role: None,
            endpoints: vec![],
            enrolment_code: None,
        })
        .await
    };
    // Statements are prepared, and types looked up, once per connection; the pool hands out the one used last.
    for number in 1..=3 {
        register(number).await?;
    }
    let before = cluster.log()?.len();
    register(4).await?;
    let log = cluster.log()?;
    let sent = statements(log.get(before..).context("the log only grows")?);
    assert_eq!(sent.len(), 5, "{sent:#?}");
    Ok(())
}
