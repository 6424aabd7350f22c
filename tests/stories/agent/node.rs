//! A real agent reports for a node while the secret that signs its calls is replaced.

use std::io::Write;
use std::process::Stdio;

use nebula_api::agent::Health;
use nebula_tests::stack::Stack;
use serde_json::Value;

use super::*;

/// Creates a secret of a node and installs it on the device through a pipe, as an administrator does.
pub(crate) fn hand_over(stack: &Stack, node: &str, device: &Device) -> Result<String> {
    let made = run(stack.ctl()?.args(["--json", "node", "secret", "make", node]))?;
    let mut keep = stack.ctl()?;
    keep.args(["node", "secret", "keep", "--dir"]).arg(&device.folder).stdin(Stdio::piped());
    let mut keep = keep.stdout(Stdio::null()).spawn()?;
    keep.stdin.take().context("no pipe")?.write_all(made.as_bytes())?;
    ensure!(keep.wait()?.success(), "the secret was not kept");
    let key: Value = serde_json::from_str(&made)?;
    key["keyId"].as_str().map(str::to_owned).context("no key")
}

/// Waits until a call was signed with this key.
async fn used(stack: &Stack, device: &Device, key: &str) -> Result<()> {
    let client = stack.database.connect().await?;
    let sql = "SELECT used_at IS NOT NULL FROM nebula.node_secret WHERE key_id = $1::text::uuid";
    let used = eventually("a call signed with the newest secret", || async {
        Ok(client.query_one(sql, &[&key]).await?.get::<_, bool>(0).then_some(()))
    });
    used.await.with_context(|| device.logs())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_secret_is_replaced_under_a_running_agent() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1)]).await?;
    let stack = &world.stack;
    run(stack.ctl()?.args(["node", "register", "gpu", "--endpoint", "192.0.2.1:51820"]))?;
    let first = hand_over(stack, "gpu", world.look("lighthouse"))?;
    run(stack.ctl()?.args(["node", "tie", "gpu", "--device", "lighthouse"]))?;
    world.device("lighthouse").start()?;
    let (stack, device) = (&world.stack, world.look("lighthouse"));
    used(stack, device, &first).await?;

    let client = stack.database.connect().await?;
    let health = eventually("a report of the node's health", || async {
        let row = client.query_one("SELECT health FROM nebula.node_status", &[]).await?;
        Ok(row.get::<_, Option<Value>>(0))
    });
    let health: Health = serde_json::from_value(health.await.with_context(|| device.logs())?)?;
    assert!(health.memory_bytes > 0 && health.disk_bytes > 0 && health.processors > 0, "{health:?}");

    // Twice, so that both slots for secrets are vacated and used again.
    for _ in 0..2 {
        let next = hand_over(stack, "gpu", device)?;
        client.execute("SELECT nebula.bump_configuration($1)", &[&stack.project]).await?;
        used(stack, device, &next).await?;
        run(stack.ctl()?.args(["node", "secret", "retire", "gpu"]))?;
        client.execute("SELECT nebula.bump_configuration($1)", &[&stack.project]).await?;
        world.current(&["lighthouse"]).await?;
    }
    let refused = "SELECT count(*) FROM nebula.event WHERE action = 'refuse-call'";
    assert_eq!(client.query_one(refused, &[]).await?.get::<_, i64>(0), 0, "{}", device.logs());
    let listed = run(stack.ctl()?.args(["node", "ls"]))?;
    assert!(listed.contains("lighthouse") && listed.contains("takes peers"), "{listed}");

    // Without the secret a call with the device's keys is refused, and the agent says what to do; leaving
    // works all the same.
    let secret = device.folder.join("node.json");
    let aside = std::fs::read(&secret)?;
    std::fs::remove_file(&secret)?;
    client.execute("SELECT nebula.bump_configuration($1)", &[&stack.project]).await?;
    eventually("the agent to say what it lacks", || async {
        Ok(device.logs().contains("node secret keep").then_some(()))
    })
    .await?;
    std::fs::write(&secret, aside)?;
    world.current(&["lighthouse"]).await?;
    let device = world.look("lighthouse");
    let program = binary::built("nebulactl")?.display().to_string();
    run(device.inside(&program).args(["leave", "--yes", "--dir"]).arg(&device.folder))?;
    let left = "SELECT count(*) FROM nebula.device WHERE revoked_at IS NOT NULL";
    assert_eq!(client.query_one(left, &[]).await?.get::<_, i64>(0), 1, "the gateway was told");
    assert!(!secret.exists());
    Ok(())
}
