//! A device with a bundle gets an agent, and a copy of the bundle's folder stops working.

use std::fs;
use std::process::Command;

use nebula_tests::process::Process;
use serde_json::Value;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_bundle_stops_working_once_the_agent_runs() -> Result<()> {
    let mut world = World::joined(&[]).await?;
    world.network = Network::new(3)?;
    world.join("lighthouse", "lighthouse", 1).await?;
    world.device("lighthouse").start()?;
    let (folder, copy) = (world.stack.path("laptop"), world.stack.path("copy"));
    run(world.stack.ctl()?.args(["join", "--name", "laptop", "--dir"]).arg(&folder))?;
    run(Command::new("cp").arg("-a").args([&folder, &copy]))?;
    let (thief, daemon) = (world.network.namespace(3), &world.releases[1].daemon);
    let log = world.stack.log("thief");
    let _nebula = Process::start("ip".as_ref(), &log, "KILL", None, |command| {
        command
            .args(["netns", "exec", &thief])
            .arg(daemon)
            .args(["-config", "nebula.yml"])
            .current_dir(&copy);
    })?;
    let steals = |lighthouse: &Device| {
        let mut ping = Command::new("ip");
        ping.args(["netns", "exec", &thief, "ping", "-c", "1", "-W", "1", &lighthouse.address]);
        run(&mut ping).is_ok()
    };
    eventually("the copy to be let in", || async { Ok(steals(world.look("lighthouse")).then_some(())) })
        .await?;

    let made = run(world.stack.ctl()?.args(["--json", "enrolment", "create", "--device", "laptop"]))?;
    let made: Value = serde_json::from_str(&made)?;
    let code = made["code"].as_str().context("no code")?;
    let laptop =
        Device::join_by(&world.stack, &world.network, &world.link, 2, &world.releases[1], "laptop", code);
    world.devices.push(laptop.await?);
    let known = "SELECT count(*) FROM nebula.certificate WHERE revoked_at IS NOT NULL";
    let client = world.stack.database.connect().await?;
    let revoked = async || anyhow::Ok(client.query_one(known, &[]).await?.get::<_, i64>(0));
    // Joining alone does not invalidate the bundle: its nebula may have to run on for a while.
    assert_eq!(revoked().await?, 0);
    assert!(steals(world.look("lighthouse")));
    world.device("laptop").start()?;
    world.current(&["lighthouse", "laptop"]).await?;
    assert_eq!(revoked().await?, 2, "one of each version");
    world.reaches("laptop", "lighthouse").await?;
    // The copy retries for ever; only the lighthouse's log shows the reason.
    let log = world.look("lighthouse").folder.join("nebula.log");
    eventually("the copy to be turned away", || async {
        Ok(fs::read_to_string(&log)?.contains("certificate is in the block list").then_some(()))
    })
    .await?;
    // While the real device is down, its address does not answer.
    assert_eq!(world.device("laptop").stop()?, Some(0));
    assert!(!steals(world.look("lighthouse")));
    Ok(())
}
