//! Faults of the machine: what may pass by itself is tried again soon, what the machine lacks is worked
//! around.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nebula_tests::netns::privileged;
use nebula_tests::process::Process;
use rustix::process::Signal;
use serde_json::Value;

use super::*;

/// `/etc/hosts` of a namespace, which `ip netns exec` mounts over the machine's.
struct Hosts(PathBuf);

impl Hosts {
    fn new(namespace: &str) -> Result<Self> {
        let hosts = Self(Path::new("/etc/netns").join(namespace));
        run(privileged("mkdir").arg("-p").arg(&hosts.0))?;
        hosts.write("")?;
        Ok(hosts)
    }

    /// Writes in place, since a new file would not be the mounted one.
    fn write(&self, line: &str) -> Result<()> {
        let text = format!("printf '127.0.0.1 localhost\\n{line}\\n' >{}/hosts", self.0.display());
        run(privileged("sh").args(["-c", &text])).map(drop)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // Best effort: the folder is not used by another namespace.
        drop(run(privileged("rm").arg("-r").arg(&self.0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_for_a_while_is_no_lasting_refusal() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1), ("phone", "host", 0)]).await?;
    let hosts = Hosts::new(&world.network.namespace(2))?;
    for device in &mut world.devices {
        device.start()?;
    }
    world.reaches("phone", "lighthouse").await?;
    world.current(&["lighthouse", "phone"]).await?;
    let processes = world.look("phone").nebulas()?;

    // 1.6 looks the name up in `-test`, and ends when there is no answer.
    let client = world.stack.database.connect().await?;
    client
        .batch_execute(
            "UPDATE nebula.device SET endpoints = '{lighthouse.test:4242}' WHERE name = 'lighthouse';
             SELECT nebula.bump_configuration(project_id) FROM nebula.project",
        )
        .await?;
    let phone = world.look("phone");
    let reason = eventually("the gateway to know of the fault", || async {
        let sql = "SELECT refused_reason FROM nebula.agent WHERE device_id = $1::text::uuid";
        Ok(client.query_one(sql, &[&phone.id]).await?.get::<_, Option<String>>(0))
    });
    let reason = reason.await.with_context(|| phone.logs())?;
    assert!(reason.contains("lighthouse.test") && reason.contains("tried again soon"), "{reason}");
    assert_eq!(phone.nebulas()?, processes, "the previous configuration runs on");

    hosts.write("192.0.2.1 lighthouse.test")?;
    world.current(&["phone"]).await?;
    let phone = world.look("phone");
    eventually("the refusal to be forgotten", || async {
        Ok(phone.status()["refused"].is_null().then_some(()))
    })
    .await
    .with_context(|| phone.logs())?;
    world.reaches("phone", "lighthouse").await
}

/// While a file exists, ends with an MTU of 1280 after its interface is active: 1.6 and 1.11 set addresses
/// and routes only then.
const ENDS_LATE: &str = r#"#!/bin/sh
if [ "$1" = -config ] && [ -e "FAULT" ] && grep -q '"mtu": 1280' "$2"; then
  echo '{"level":"info","msg":"Nebula interface is active"}'
  echo '{"level":"fatal","msg":"failed to set mtu 0 on route 192.0.2.0/24; file exists"}'
  exit 1
fi
exec "NEBULA" "$@"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_this_machine_cannot_start_yet_gives_way_to_the_previous_one() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1)]).await?;
    let (program, fault) = (world.stack.path("nebula-ends-late"), world.stack.path("fault"));
    let daemon = world.releases[0].daemon.display().to_string();
    let text = ENDS_LATE.replace("FAULT", &fault.display().to_string()).replace("NEBULA", &daemon);
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    world.releases[0].daemon = program;
    world.join("phone", "host", 0).await?;
    for device in &mut world.devices {
        device.start()?;
    }
    world.reaches("phone", "lighthouse").await?;
    let client = world.stack.database.connect().await?;
    fs::write(&fault, "")?;
    // Another mtu needs a restart of 1.6.
    client
        .batch_execute(
            "UPDATE nebula.project SET mtu = 1280;
             SELECT nebula.bump_configuration(project_id) FROM nebula.project",
        )
        .await?;
    let phone = world.look("phone");
    let reason = eventually("the agent to tell the fault", || async {
        let reason = phone.status()["refused"]["reason"].clone();
        Ok(reason.as_str().map(str::to_owned))
    });
    let reason = reason.await.with_context(|| phone.logs())?;
    assert!(reason.contains("file exists") && reason.contains("tried again soon"), "{reason}");
    world.reaches("phone", "lighthouse").await?;
    fs::remove_file(&fault)?;
    world.current(&["phone"]).await?;
    world.reaches("phone", "lighthouse").await
}

/// Waits until the agent has reported the nebula that runs.
async fn runs(device: &Device) -> Result<()> {
    let running = eventually("the agent to run nebula", || async {
        let pid = device.status()["nebulaPid"].to_string();
        Ok(device.nebulas()?.contains(&pid).then_some(()))
    });
    running.await.with_context(|| device.logs())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_in_several_networks_on_interfaces_of_their_own() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1), ("first", "host", 1)]).await?;
    let client = world.stack.database.connect().await?;
    client
        .batch_execute(
            "SELECT nebula.populate_pool(nebula.create_project('second', '10.71.0.0/16'), '10.71.0.0/24')",
        )
        .await?;
    let create = ["--json", "enrolment", "create", "--project", "second", "--name", "second"];
    let made = run(world.stack.ctl()?.args(create))?;
    let made: Value = serde_json::from_str(&made)?;
    let code = made["code"].as_str().context("no code")?;
    let second =
        Device::join_by(&world.stack, &world.network, &world.link, 2, &world.releases[0], "second", code);
    world.devices.push(second.await?);
    for name in ["first", "second"] {
        world.device(name).start()?;
        runs(world.look(name)).await?;
    }
    let second = world.look("second");
    let interface = |device: &Device| -> Result<String> {
        let listed = run(device.inside("ip").args(["-br", "addr"]))?;
        let line = listed.lines().find(|line| line.contains(&format!(" {}/", device.address)));
        Ok(line.and_then(|line| line.split_whitespace().next()).unwrap_or_default().to_owned())
    };
    assert_eq!(interface(world.look("first"))?, "nebula1");
    assert_eq!(interface(second)?, "nebula2", "{}", second.logs());
    let nebulactl = binary::built("nebulactl")?.display().to_string();
    let status = run(second.inside(&nebulactl).args(["--json", "status", "--dir"]).arg(&second.folder))?;
    let status: Value = serde_json::from_str(&status)?;
    assert!(status["device"]["traffic"]["sentBytes"].is_u64(), "status follows the interface: {status}");
    eventually("bytes to be counted on the other interface", || async {
        let tables = run(second.inside("nft").args(["list", "tables"]))?;
        Ok(tables.contains("nebulactl-nebula2").then_some(()))
    })
    .await?;

    // The name stays, also when nebula1 is free; an option names another, and never takes one that is in use.
    assert_eq!(world.device("first").stop()?, Some(0));
    assert_eq!(world.device("second").stop()?, Some(0));
    world.device("second").start()?;
    runs(world.look("second")).await?;
    assert_eq!(interface(world.look("second"))?, "nebula2");
    world.device("first").start()?;
    runs(world.look("first")).await?;
    assert_eq!(world.device("second").stop()?, Some(0));
    world.device("second").set_options(&["--dev", "nebula1"]);
    world.device("second").start()?;
    let second = world.look("second");
    eventually("the agent to name the option", || async {
        Ok(second.logs().contains("Choose another one: nebulactl agent --dev NAME").then_some(()))
    })
    .await?;
    assert_eq!(world.device("second").stop()?, Some(0));
    world.device("second").set_options(&["--dev", "home0"]);
    world.device("second").start()?;
    runs(world.look("second")).await?;
    assert_eq!(interface(world.look("second"))?, "home0", "{}", world.look("second").logs());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_from_what_is_the_future_now_does_not_shut_a_device_out() -> Result<()> {
    let mut world = World::start(&[("lighthouse", "lighthouse", 1)]).await?;
    runs(world.look("lighthouse")).await?;
    assert_eq!(world.device("lighthouse").stop()?, Some(0));
    // As far ahead as the clock of an accepted call can have been.
    let client = world.stack.database.connect().await?;
    client
        .batch_execute(
            "UPDATE nebula.agent SET said_at = clock_timestamp() + interval '299 seconds';
             SELECT nebula.bump_configuration(project_id) FROM nebula.project",
        )
        .await?;
    let begun = Instant::now();
    world.device("lighthouse").start()?;
    world.current(&["lighthouse"]).await?;
    ensure!(begun.elapsed() < MINUTE, "it took {:?}: {}", begun.elapsed(), world.look("lighthouse").logs());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_far_off_at_boot_is_no_refusal() -> Result<()> {
    let mut world = World::joined(&[]).await?;
    world.network = Network::new(1)?;
    let (program, fault) = (world.stack.path("nebula-in-the-past"), world.stack.path("fault"));
    // The words of 1.6.1 on a machine whose clock starts in 1970.
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = -version ] || [ ! -e '{}' ] || {{ echo 'level=error msg=\"Failed to load ca from \
         config\" error=\"no valid CA certificates present\"'; exit 1; }}\nexec '{}' \"$@\"\n",
        fault.display(),
        world.releases[0].daemon.display()
    );
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::write(&fault, "")?;
    world.releases[0].daemon = program;
    world.join("lighthouse", "lighthouse", 0).await?;
    world.device("lighthouse").start()?;
    let lighthouse = world.look("lighthouse");
    eventually("nebula to be tried twice", || async {
        Ok((lighthouse.logs().matches("no valid CA certificates present").count() > 1).then_some(()))
    })
    .await?;
    fs::remove_file(&fault)?;
    let begun = Instant::now();
    runs(lighthouse).await?;
    ensure!(begun.elapsed() < MINUTE, "it took {:?}: {}", begun.elapsed(), lighthouse.logs());
    let kept = run(Command::new("find").arg(&lighthouse.folder).args(["-name", "refused"]))?;
    assert_eq!(kept, "", "the configuration counts as refused");
    Ok(())
}

/// Shifts the clock of a program by the seconds in a file.
const SHIFTED_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = next(clock, now);
  if (clock != CLOCK_REALTIME) return result;
  long seconds = 0;
  FILE *file = fopen(getenv("CLOCK_SHIFT"), "r");
  if (file) {
    if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
    fclose(file);
  }
  now->tv_sec += seconds;
  return result;
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_put_right_heals_within_a_minute() -> Result<()> {
    let world = World::joined(&[("lighthouse", "lighthouse", 1)]).await?;
    let [source, library, shift] = ["clock.c", "clock.so", "shift"].map(|name| world.stack.path(name));
    fs::write(&source, SHIFTED_CLOCK)?;
    run(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl"))?;
    fs::write(&shift, "3600")?;
    let variable = |name: &str, path: &Path| format!("{name}={}", path.display());
    let start = |namespace: &str, device: &Device| {
        Process::start("ip".as_ref(), &world.stack.log("lighthouse"), "TERM", None, |command| {
            command.args(["netns", "exec", namespace, "env"]);
            command.arg(variable("LD_PRELOAD", &library)).arg(variable("CLOCK_SHIFT", &shift));
            command.arg(binary::built("nebulactl").expect("it joined")).args(["agent", "--dir"]);
            command.arg(&device.folder).arg("--nebula").arg(&world.releases[1].daemon);
        })
    };
    let lighthouse = world.look("lighthouse");
    let mut agent = start(&world.network.namespace(1), lighthouse)?;
    let error = || lighthouse.status()["contact"]["error"].as_str().map(str::to_owned);
    let told = eventually("the gateway to refuse the agent", || async { Ok(error()) }).await?;
    assert!(told.contains("its clock is 3"), "{told}");

    fs::write(&shift, "0")?;
    let begun = Instant::now();
    eventually("the gateway to accept the agent", || async { Ok(error().is_none().then_some(())) }).await?;
    ensure!(begun.elapsed() < MINUTE, "it took {:?}: {}", begun.elapsed(), lighthouse.logs());
    assert!(!lighthouse.logs().contains("It was revoked"), "{}", lighthouse.logs());
    world.current(&["lighthouse"]).await?;
    agent.signal(Signal::TERM)?;
    assert_eq!(agent.wait()?, Some(0));
    Ok(())
}

/// As particular about its command line as Syncthing 2.
const SYNCTHING_2: &str = r#"#!/bin/sh
shift
for word; do
  case $word in
    --home | --no-browser | --no-upgrade | /*) ;;
    --logfile | --log-file | --log-max-size=* | --log-max-old-files=*) ;;
    *) echo "syncthing: error: unknown flag $word" >&2; exit 80 ;;
  esac
done
[ ! -e "$0.broken" ] || { printf '%s\n' reading 'syncthing: error: no room for the index' >&2; exit 1; }
echo $$ >"$0.pid"
exec sleep 600
"#;

#[tokio::test(flavor = "multi_thread")]
async fn syncthing_2_starts_and_a_syncthing_that_ends_is_quoted() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1)]).await?;
    let program = world.stack.path("syncthing");
    fs::write(&program, SYNCTHING_2)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    world.device("lighthouse").set_options(&["--no-traffic", "--syncthing", &program.display().to_string()]);
    world.device("lighthouse").start()?;
    let lighthouse = world.look("lighthouse");
    let record = world.stack.path("syncthing.pid");
    let pid = eventually("Syncthing to run", || async {
        Ok(fs::read_to_string(&record).ok().filter(|text| text.ends_with('\n')))
    })
    .await
    .with_context(|| lighthouse.logs())?;
    assert!(!lighthouse.logs().contains("has ended"), "{}", lighthouse.logs());

    fs::write(world.stack.path("syncthing.broken"), "")?;
    run(privileged("kill").arg(pid.trim()))?;
    eventually("the agent to quote it", || async {
        Ok(lighthouse
            .logs()
            .contains("Syncthing has ended: syncthing: error: no room for the index")
            .then_some(()))
    })
    .await
    .with_context(|| lighthouse.logs())
}
