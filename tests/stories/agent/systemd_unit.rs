//! nebula run by the service manager: the agent reloads it, and restarts it only when a reload is not enough.
//! There is no systemd in a network namespace, so a script in the place of `systemctl` runs one real nebula
//! as the unit would.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// `systemctl` for one unit; the file `asked` records the calls.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$@" >> {here}/asked
pid=$(cat {here}/pid 2>/dev/null)
case $1 in
show) kill -0 "$pid" 2>/dev/null && echo "$pid" || echo 0 ;;
restart)
    [ -z "$pid" ] || { kill "$pid"; while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done; }
    setsid {nebula} -config {config} > {here}/unit.log 2>&1 < /dev/null &
    echo $! > {here}/pid
    while ! grep -q 'interface is active' {here}/unit.log; do sleep 0.05; done ;;
reload-or-restart) kill -HUP "$pid" ;;
esac
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reloads_and_restarts_a_systemd_unit() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1), ("phone", "host", 0)]).await?;
    let tools = world.stack.path("tools");
    fs::create_dir(&tools)?;
    let phone = world.look("phone");
    let text = SYSTEMCTL
        .replace("{here}", &tools.display().to_string())
        .replace("{nebula}", &world.releases[0].daemon.display().to_string())
        .replace("{config}", &phone.folder.join("current/nebula.yml").display().to_string());
    fs::write(tools.join("systemctl"), text)?;
    fs::set_permissions(tools.join("systemctl"), fs::Permissions::from_mode(0o755))?;
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

    // A new configuration is applied by a reload, and a restarted agent finds the running unit.
    let client = world.stack.database.connect().await?;
    client.execute("SELECT nebula.bump_configuration($1)", &[&world.stack.project]).await?;
    world.current(&["phone"]).await?;
    world.device("phone").kill()?;
    world.device("phone").start()?;
    client.execute("SELECT nebula.bump_configuration($1)", &[&world.stack.project]).await?;
    world.current(&["phone"]).await?;
    assert_eq!((asked("restart")?, world.look("phone").nebulas()?), (1, process.clone()));
    assert!(asked("reload-or-restart")? >= 2);

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
