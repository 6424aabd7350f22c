//! `join --install` on a machine with systemd: the agent starts with the machine, is restarted when it dies,
//! and is removed when the device leaves.

use nebula_tests::machine::Machine;
use serde_json::Value;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_installed_agent_survives_crashes_and_reboots() -> Result<()> {
    let mut world = World::joined(&[]).await?;
    world.network = Network::new(2)?;
    world.join("lighthouse", "lighthouse", 1).await?;
    world.device("lighthouse").start()?;
    let namespace = world.network.namespace(2);
    let _link = world.link.reach(&namespace, &world.stack.log("server-link")).await?;
    let machine = Machine::boot(&namespace, &world.stack.path("server"), &world.stack.log("server")).await?;
    let made = run(world.stack.ctl()?.args(["--json", "enrolment", "create", "--name", "server"]))?;
    let made: Value = serde_json::from_str(&made)?;
    let nebulactl = binary::built("nebulactl")?.display().to_string();
    let code = made["code"].as_str().context("no code")?;
    let joined = machine
        .run(&nebulactl, &["join", "--code", code, "--server", "http://127.0.0.1:8080", "--install"])?;
    assert!(joined.contains("kept up to date by nebula-agent.service"), "{joined}");

    let lighthouse = world.look("lighthouse").address.clone();
    let reaches = async |why: &str| {
        let reached = eventually(why, || async {
            Ok(machine.run("ping", &["-c", "1", "-W", "1", &lighthouse]).is_ok().then_some(()))
        });
        let journal = || machine.run("journalctl", &["--unit", UNIT, "--no-pager"]).unwrap_or_default();
        reached.await.with_context(journal)
    };
    let agent = || machine.run("systemctl", &["show", "--property", "MainPID", "--value", UNIT]);
    let nebula = || machine.run("pgrep", &["-f", "nebula -config"]);
    reaches("the unit to bring the overlay").await?;
    assert_eq!(machine.run("systemctl", &["is-enabled", UNIT])?.trim(), "enabled");
    let warnings =
        machine.run("sh", &["-c", &format!("systemd-analyze verify /etc/systemd/system/{UNIT} 2>&1")])?;
    assert!(!warnings.contains("nebula-agent"), "{warnings}");

    // The agent is killed; nebula keeps running.
    let (before, overlay) = (agent()?, nebula()?);
    machine.run("kill", &["-KILL", before.trim()])?;
    eventually("another agent", || async {
        let now = agent()?;
        Ok((now != before && now.trim() != "0").then_some(()))
    })
    .await?;
    reaches("the overlay to be there still").await?;
    assert_eq!(nebula()?, overlay);

    machine.reboot().await?;
    reaches("the overlay to be there after a reboot").await?;
    assert_eq!(machine.run("systemctl", &["is-active", UNIT])?.trim(), "active");

    let left = machine.run(&nebulactl, &["leave", "--yes"])?;
    assert!(left.contains("its keys are gone"), "{left}");
    assert!(nebula().is_err() && machine.run("systemctl", &["cat", UNIT]).is_err());
    Ok(())
}

const UNIT: &str = "nebula-agent.service";
