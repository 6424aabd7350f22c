//! nebula run by the service manager: the agent reloads it, and restarts it only when a reload is not enough.
//! There is no systemd in a network namespace, so a script in the place of `systemctl` runs one real nebula
//! as the unit would. The errors of a reload are read from the journal of a machine with systemd.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nebula_tests::machine::Machine;
use serde_json::Value;

use super::*;

/// `systemctl` for one unit; the file `asked` records the calls.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$@" >> {here}/asked
pid=$(cat {here}/pid 2>/dev/null)
case $1 in
show) kill -0 "$pid" 2>/dev/null && echo "$pid" || echo 0 ;;
restart)
    [ -z "$pid" ] || { kill "$pid"; while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done; }
    date +%s > {here}/started
    setsid {nebula} -config {config} > {here}/unit.log 2>&1 < /dev/null &
    echo $! > {here}/pid
    while ! grep -q 'interface is active' {here}/unit.log; do sleep 0.05; done
    echo 0 > {here}/since ;;
reload-or-restart) wc -l < {here}/unit.log > {here}/since; kill -HUP "$pid" ;;
esac
"#;

/// `journalctl` for this unit; its cursor is the number of a line.
const JOURNALCTL: &str = r#"#!/bin/sh
from=$(cat {here}/since)
for word; do
    case $word in
    --after-cursor=*) from=${word#*=} ;;
    --since=@*)
        since=${word#*@}
        [ "${since%.*}" -gt "$(cat {here}/started)" ] || from=0 ;;
    esac
done
to=$(wc -l < {here}/unit.log)
sed -n "$((from + 1)),${to}p" {here}/unit.log
echo "-- cursor: $to"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reloads_and_restarts_a_systemd_unit() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1), ("phone", "host", 0)]).await?;
    let tools = world.stack.path("tools");
    fs::create_dir(&tools)?;
    let phone = world.look("phone");
    for (name, text) in [("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)] {
        let text = text
            .replace("{here}", &tools.display().to_string())
            .replace("{nebula}", &world.releases[0].daemon.display().to_string())
            .replace("{config}", &phone.folder.join("current/nebula.yml").display().to_string());
        fs::write(tools.join(name), text)?;
        fs::set_permissions(tools.join(name), fs::Permissions::from_mode(0o755))?;
    }
    let phone = world.device("phone");
    phone.set_tools(&tools);
    phone.set_options(&["--unit", "nebula-overlay.service"]);
    for device in &mut world.devices {
        device.start()?;
    }
    world.reaches("phone", "lighthouse").await?;
    let asked = |verb: &str| -> Result<usize> {
        Ok(fs::read_to_string(tools.join("asked"))?.lines().filter(|line| line.starts_with(verb)).count())
    };
    assert_eq!(asked("restart")?, 1);
    let process = world.look("phone").nebulas()?;
    assert_eq!(process.len(), 1);
    tunnel_is_told(&world).await?;

    // A new configuration is applied by a reload, and a restarted agent finds the running unit.
    let client = world.stack.database.connect().await?;
    client.execute("SELECT nebula.bump_configuration($1)", &[&world.stack.project]).await?;
    world.current(&["phone"]).await?;
    world.device("phone").kill()?;
    fs::remove_file(world.look("phone").folder.join("status.json"))?;
    world.device("phone").start()?;
    client.execute("SELECT nebula.bump_configuration($1)", &[&world.stack.project]).await?;
    world.current(&["phone"]).await?;
    assert_eq!((asked("restart")?, world.look("phone").nebulas()?), (1, process.clone()));
    assert!(asked("reload-or-restart")? >= 2);
    tunnel_is_told(&world).await?;

    // A change that needs a new process restarts the unit; the unit continues when the agent ends.
    client
        .execute("UPDATE nebula.project SET mtu = 1280 WHERE project_id = $1", &[&world.stack.project])
        .await?;
    world.current(&["phone"]).await?;
    assert_eq!(asked("restart")?, 2);
    assert_eq!(world.device("phone").stop()?, Some(0));
    assert_eq!(world.look("phone").nebulas()?.len(), 1);
    world.reaches("phone", "lighthouse").await
}

/// Waits until the status of the phone has the tunnel of its unit.
async fn tunnel_is_told(world: &World) -> Result<()> {
    let (phone, lighthouse) = (world.look("phone"), world.look("lighthouse"));
    let told = eventually("the status to have the tunnel", || async {
        let status = phone.status();
        let mut peers = status["peers"].as_array().into_iter().flatten();
        let has_tunnel = peers.any(|peer| {
            peer["address"] == *lighthouse.address
                && peer["name"] == "lighthouse"
                && peer["remote"].is_string()
        });
        Ok(has_tunnel.then_some(()))
    });
    told.await.with_context(|| phone.logs())
}

/// While a file exists, puts a rule that nebula does not understand into each configuration that it is to test, so that
/// the test does not see it and the reload does.
const UNIT: &str = r#"
mv "$(command -v nebula)" /opt/nebula
cat > /usr/local/bin/nebula <<'END'
#!/bin/sh
if [ "$1" = -test ] && [ -e /run/fault ]; then
  echo 'firewall: {inbound: [{port: any, proto: rot13, host: any}]}' >"${3%/*}/mistake.yml"
fi
[ "$1" = -config ] || exec /opt/nebula "$@"
mkdir -p /run/merged
ln -sf "$2" /run/merged/1.yml
ln -sf /etc/nebula/current/mistake.yml /run/merged/2.yml
exec /opt/nebula -config /run/merged
END
chmod 0755 /usr/local/bin/nebula
cat > /etc/systemd/system/nebula-overlay.service <<'END'
[Service]
ExecStart=/usr/local/bin/nebula -config /etc/nebula/current/nebula.yml
ExecReload=/bin/kill -HUP $MAINPID
END
systemctl daemon-reload
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_unit_says_against_a_reload_is_read_from_the_journal() -> Result<()> {
    let mut world = World::joined(&[]).await?;
    world.network = Network::new(2)?;
    world.join("lighthouse", "lighthouse", 1).await?;
    world.device("lighthouse").start()?;
    let namespace = world.network.namespace(2);
    let _link = world.link.reach(&namespace, &world.stack.log("server-link")).await?;
    let (folder, log) = (world.stack.path("server"), world.stack.log("server"));
    let machine = Machine::boot(&namespace, &folder, &log, Some(&binary::built("nebulactl")?)).await?;
    machine.run("sh", &["-euc", UNIT])?;
    let made = run(world.stack.ctl()?.args(["--json", "enrolment", "create", "--name", "server"]))?;
    let made: Value = serde_json::from_str(&made)?;
    let code = made["code"].as_str().context("no code")?;
    machine.run("nebulactl", &["join", "--code", code, "--server", "http://127.0.0.1:8080"])?;
    let agent = ["agent", "--dir", "/etc/nebula", "--no-traffic", "--unit", "nebula-overlay.service"];
    machine.run("systemd-run", &[&["--unit", "agent", "nebulactl"], agent.as_slice()].concat())?;
    let journal = || machine.run("journalctl", &["--no-pager", "--lines=60"]).unwrap_or_default();
    let lighthouse = world.look("lighthouse").address.clone();
    eventually("the unit to bring the overlay", || async {
        Ok(machine.run("ping", &["-c", "1", "-W", "1", &lighthouse]).is_ok().then_some(()))
    })
    .await
    .with_context(journal)?;
    let process = || machine.run("systemctl", &["show", "--property=MainPID", "nebula-overlay.service"]);
    let before = process()?;

    machine.run("touch", &["/run/fault"])?;
    let client = world.stack.database.connect().await?;
    client.batch_execute("SELECT nebula.bump_configuration(project_id) FROM nebula.project").await?;
    let reason = eventually("the gateway to know of the refusal", || async {
        let sql = "SELECT (SELECT refused_reason FROM nebula.agent_status WHERE name = 'server')";
        Ok(client.query_one(sql, &[]).await?.get::<_, Option<String>>(0))
    });
    let reason = reason.await.with_context(journal)?;
    assert!(reason.contains("proto was not understood"), "{reason}");
    machine.run("rm", &["/run/fault"])?;
    client.batch_execute("SELECT nebula.bump_configuration(project_id) FROM nebula.project").await?;
    eventually("the next configuration to be taken over", || async {
        let sql = "SELECT runs = newest FROM nebula.agent_status WHERE name = 'server'";
        Ok(client.query_one(sql, &[]).await?.get::<_, bool>(0).then_some(()))
    })
    .await
    .with_context(journal)?;
    assert_eq!(process()?, before, "the nebula that ran goes on running: {}", journal());
    Ok(())
}
