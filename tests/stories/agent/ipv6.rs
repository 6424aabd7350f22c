//! Machines whose kernel has no IPv6, or has it switched off.

use std::fs;

use nebula_tests::netns::privileged;
use nebula_tests::process::Process;

use super::*;

/// Runs a program whose IPv6 sockets fail with EAFNOSUPPORT, as under `ipv6.disable=1`: a seccomp filter for
/// the system calls of x86-64 and of the generic table.
const WITHOUT_IPV6: &str = r#"
import ctypes, os, platform, struct, sys
AF_INET6, EAFNOSUPPORT = 10, 97
socket = 41 if platform.machine() == "x86_64" else 198
word = lambda code, yes, no, k: struct.pack("HBBI", code, yes, no, k)
program = (word(0x20, 0, 0, 0) + word(0x15, 0, 3, socket) + word(0x20, 0, 0, 16) + word(0x15, 0, 1, AF_INET6)
           + word(0x06, 0, 0, 0x00050000 | EAFNOSUPPORT) + word(0x06, 0, 0, 0x7FFF0000))
class Filter(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("program", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(len(program) // 8, program)), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_ipv6_runs_nebula_on_ipv4_or_names_the_release_to_install() -> Result<()> {
    let mut world =
        World::joined(&[("lighthouse", "lighthouse", 1), ("new", "host", 1), ("old", "host", 0)]).await?;
    world.device("lighthouse").start()?;
    let script = world.stack.path("without-ipv6.py");
    fs::write(&script, WITHOUT_IPV6)?;
    let start = |name: &str, host: usize, release: usize| {
        let device = world.look(name);
        Process::start("ip".as_ref(), &world.stack.log(name), "TERM", None, |command| {
            command.args(["netns", "exec", &world.network.namespace(host), "python3"]).arg(&script);
            command.arg(binary::built("nebulactl").expect("it joined")).args(["agent", "--dir"]);
            command.arg(&device.folder).arg("--nebula").arg(&world.releases[release].daemon);
        })
    };
    let (_new, _old) = (start("new", 2, 1)?, start("old", 3, 0)?);
    world.reaches("new", "lighthouse").await?;
    let config = fs::read_to_string(world.look("new").folder.join("current/nebula.yml"))?;
    assert!(config.contains("\"0.0.0.0\""), "{config}");
    let old = world.look("old");
    eventually("the agent to say what is missing", || async {
        Ok(old.logs().contains("needs IPv6 in the kernel, which this machine does not have").then_some(()))
    })
    .await
    .with_context(|| old.logs())?;
    assert!(old.nebulas()?.is_empty());
    Ok(())
}

/// `net.ipv6.conf.all.disable_ipv6=1` of hardened servers: sockets open, and no interface takes an address.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_ipv6_switched_off_is_a_member_by_its_ipv4_address() -> Result<()> {
    let mut world = World::on(Stack::start().await?, &[]).await?;
    world.network = Network::new(2)?;
    let client = world.stack.database.connect().await?;
    client
        .batch_execute("SELECT nebula.populate_pool(project_id, 'fd42::/64', 'six') FROM nebula.project")
        .await?;
    for name in ["lighthouse", "server"] {
        world.join(name, if name == "server" { "host" } else { name }, 1).await?;
    }
    let server = world.look("server");
    let dual = "SELECT array_agg(family(ip) ORDER BY ip) = '{4,6}' FROM nebula.allocation
                 WHERE device_id = $1::text::uuid AND released_at IS NULL";
    assert!(client.query_one(dual, &[&server.id]).await?.get::<_, bool>(0), "it has both families");
    let off = ["netns", "exec", &server.namespace, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"];
    run(privileged("ip").args(off))?;
    for device in &mut world.devices {
        device.start()?;
    }
    world.reaches("server", "lighthouse").await?;

    // Without the certificate of version 1 there is no way, and the remedy is named.
    run(world.stack.ctl()?.args(["project", "options", "certificateVersions=2"]))?;
    let server = world.look("server");
    eventually("the agent to name the setting", || async {
        Ok(server.logs().contains("IPv6 is switched off on this machine").then_some(()))
    })
    .await
    .with_context(|| server.logs())?;
    let on = ["netns", "exec", &server.namespace, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0"];
    run(privileged("ip").args(on))?;
    world.current(&["server"]).await?;
    world.reaches("server", "lighthouse").await
}
