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
    let nebulactl = binary::built("nebulactl")?;
    let (folder, log) = (world.stack.path("server"), world.stack.log("server"));
    let machine = Machine::boot(&namespace, &folder, &log, Some(&nebulactl)).await?;
    let made = run(world.stack.ctl()?.args(["--json", "enrolment", "create", "--name", "server"]))?;
    let made: Value = serde_json::from_str(&made)?;
    let code = made["code"].as_str().context("no code")?;
    let joined = machine
        .run("nebulactl", &["join", "--code", code, "--server", "http://127.0.0.1:8080", "--install"])?;
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

    // Other users may not read the device's folder; their commands ask its gateway nevertheless.
    let settings = "/etc/xdg/nebulactl/settings.json";
    let told = machine.run("setpriv", &["--reuid", "65534", "--clear-groups", "cat", settings])?;
    assert!(told.contains("http://127.0.0.1:8080"), "{told}");

    let left = machine.run("nebulactl", &["leave", "--yes"])?;
    assert!(machine.run("ls", &[settings]).is_err(), "it has no gateway any more");
    assert!(left.contains("its keys are gone"), "{left}");
    assert!(nebula().is_err() && machine.run("systemctl", &["cat", UNIT]).is_err());
    Ok(())
}

/// The machine has no nebula yet: its package manager brings it, once it has network.
const PACKAGES: &str = r#"
mkdir /opt/mirror
mv "$(command -v nebula)" /opt/mirror/nebula
cat > /usr/local/bin/apt-get <<'END'
#!/bin/sh
[ -e /opt/mirror/up ] || { echo "E: Temporary failure resolving the mirror" >&2; exit 100; }
case "$*" in *"install --no-install-recommends nebula") cp /opt/mirror/nebula /usr/bin/nebula ;; esac
END
chmod 0755 /usr/local/bin/apt-get
"#;

/// Every step that fails says why, leaves nothing half done, and is done by the same command later.
#[tokio::test(flavor = "multi_thread")]
async fn one_command_makes_a_bare_machine_a_member() -> Result<()> {
    let mut world = World::joined(&[]).await?;
    world.network = Network::new(2)?;
    world.join("lighthouse", "lighthouse", 1).await?;
    let namespace = world.network.namespace(2);
    let _link = world.link.reach(&namespace, &world.stack.log("server-link")).await?;
    let (folder, log) = (world.stack.path("server"), world.stack.log("server"));
    let machine = Machine::boot(&namespace, &folder, &log, None).await?;
    machine.run("sh", &["-euc", PACKAGES])?;
    let made = run(world.stack.ctl()?.args(["--json", "enrolment", "create", "--name", "server"]))?;
    let made: Value = serde_json::from_str(&made)?;
    let command = made["command"].as_str().context("no command")?;
    // The machine sees the gateway elsewhere than the administrator.
    let command = command.replace(&world.stack.url(), "http://127.0.0.1:8080");
    let fails = |command: &str, why: &str| -> Result<()> {
        let error = machine.run("sh", &["-c", command]).err().context("it succeeds")?.to_string();
        assert!(error.contains(why) && error.contains("help: "), "{error}");
        // Nothing is left: no program, no device, and the code is as good as new.
        assert!(machine.run("ls", &["/usr/local/bin/nebulactl"]).is_err(), "{error}");
        assert!(
            machine.run("ls", &["/etc/nebula"]).is_err() && machine.run("systemctl", &["cat", UNIT]).is_err()
        );
        Ok(())
    };
    let sha256 = made["nebulactlSha256"].as_str().context("no checksum")?;
    fails(&command.replace(sha256, &"0".repeat(64)), "is not the one of the invitation")?;
    // A folder for temporary files that is not there is passed over.
    fails(&format!("export TMPDIR=/nowhere; {command}"), "nebula could not be installed")?;

    machine.run("touch", &["/opt/mirror/up"])?;
    // Everything succeeds but the last step: the lighthouse does not run yet.
    machine.run("systemd-run", &["--unit", "late", "--setenv", "HOME=/root", "sh", "-c", &command])?;
    eventually("the device to have joined", || async {
        Ok(machine.run("ls", &["/etc/nebula/agent.json"]).is_ok().then_some(()))
    })
    .await?;
    // All its processes, so that only one command is under way at a time.
    machine.run("systemctl", &["kill", "--signal", "KILL", "late"])?;
    machine.run("systemctl", &["stop", "late"])?;
    world.device("lighthouse").start()?;
    let joined = machine.run("sh", &["-c", &command])?;
    assert!(joined.contains("Try it:  nebulactl ping lighthouse"), "{joined}");
    let share = |file: &str| format!("/usr/local/share/{file}");
    machine.run("test", &["-s", &share("bash-completion/completions/nebulactl")])?;
    machine.run("test", &["-s", &share("man/man1/nebulactl-join.1")])?;
    let told = machine.run("/usr/local/bin/nebulactl", &["ping", "lighthouse"])?;
    let way = format!("directly, at {}:4242", Network::address(1));
    assert!(told.contains("answers in") && told.contains(&way), "{told}");
    let devices = run(world.stack.ctl()?.args(["device", "ls"]))?;
    assert_eq!(devices.matches("server").count(), 1, "{devices}");

    machine.reboot().await?;
    eventually("the overlay to be there after a reboot", || async {
        Ok(machine.run("/usr/local/bin/nebulactl", &["ping", "lighthouse"]).ok())
    })
    .await?;

    code_is_no_proof(&world, &machine, &command)
}

/// Run again without systemd, the command does all but the last step and names that; of a revoked device it says
/// so.
fn code_is_no_proof(world: &World, machine: &Machine, command: &str) -> Result<()> {
    let hidden = format!("mount -t tmpfs none /run/systemd && {{ {command}; }}");
    let told = machine.run("unshare", &["-m", "sh", "-c", &hidden])?;
    assert!(told.contains("nebulactl agent --dir /etc/nebula") && told.contains("service manager"), "{told}");
    run(world.stack.ctl()?.args(["device", "revoke", "server", "--yes", "--no-wait"]))?;
    let error = machine.run("sh", &["-c", command]).err().context("a revoked device is welcome")?;
    assert!(error.to_string().contains("server has joined by this code before, but"), "{error}");
    Ok(())
}

const UNIT: &str = "nebula-agent.service";
