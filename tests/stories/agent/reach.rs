//! Files name only what a device can use: lighthouses of its own pool and families, and no route that takes its
//! LAN away.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::*;

/// Keeps the settings of each interface in files, as systemd-resolved does until they are reverted.
const RESOLVECTL: &str = r#"#!/bin/sh
cd "${0%/*}" || exit
verb=$1; link=$2; shift 2
case $verb in
    revert) rm -f "$link".* ;;
    *) echo "$@" >"$link.$verb" ;;
esac
"#;

/// Joins a device of this project on the next host, in a pool, and starts its agent.
async fn join(world: &mut World, name: &str, release: usize, options: &[&str]) -> Result<()> {
    let create = ["--json", "enrolment", "create", "--project", "pools", "--name", name];
    let made: Value = serde_json::from_str(&run(world.stack.ctl()?.args(create).args(options))?)?;
    let code = made["code"].as_str().context("no code")?;
    let (host, release) = (world.devices.len() + 1, &world.releases[release]);
    let joined = Device::join_by(&world.stack, &world.network, &world.link, host, release, name, code);
    let mut joined = joined.await?;
    joined.start()?;
    world.devices.push(joined);
    Ok(())
}

/// Interface by which a device would send to the machine in the LAN.
fn way(device: &Device) -> Result<String> {
    let route = run(device.inside("ip").args(["route", "get", "192.168.77.1"]))?;
    let mut words = route.split_whitespace().skip_while(|word| *word != "dev");
    Ok(words.nth(1).unwrap_or_default().to_owned())
}

/// A LAN that the device is in.
fn add_lan(device: &Device) -> Result<()> {
    for command in [
        "link add lan0 type veth peer name lan1",
        "addr add 192.168.77.50/24 dev lan0",
        "link set lan0 up",
        "link set lan1 up",
    ] {
        run(device.inside("ip").args(command.split(' ')))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_both_releases_run_what_they_get_and_keep_their_lan() -> Result<()> {
    let mut world = World::on(Stack::start().await?, &[]).await?;
    world.network = Network::new(4)?;
    let client = world.stack.database.connect().await?;
    client
        .batch_execute(
            "SELECT nebula.create_project('pools');
             SELECT nebula.populate_pool(project_id, '10.61.0.0/24', 'site-a'),
                    nebula.populate_pool(project_id, '10.62.0.0/24', 'site-b')
               FROM nebula.project WHERE name = 'pools'",
        )
        .await?;
    let endpoint = format!("{}:4242", Network::address(1));
    let lighthouse = ["--role", "lighthouse", "--address", "10.61.0.1", "--endpoint", &endpoint];
    join(&mut world, "lighthouse", 1, &lighthouse).await?;
    join(&mut world, "old", 0, &["--address", "10.61.0.5"]).await?;
    join(&mut world, "new", 1, &["--address", "10.61.0.6"]).await?;
    join(&mut world, "away", 0, &["--address", "10.62.0.5"]).await?;
    for name in ["old", "new"] {
        world.reaches(name, "lighthouse").await?;
    }

    // Two of them are in a LAN that becomes a route, and the lighthouse gets an IPv6 address.
    for name in ["old", "new"] {
        add_lan(world.look(name))?;
    }
    let lighthouse = &world.look("lighthouse").id;
    client
        .batch_execute(&format!(
            "SELECT nebula.populate_pool(project_id, 'fd61::/64', 'six'),
                    nebula.add_route(project_id, '192.168.77.0/24', '{lighthouse}')
               FROM nebula.project WHERE name = 'pools';
             SELECT nebula.allocate_dual(project_id, device_id) FROM nebula.device WHERE device_id = '{lighthouse}'"
        ))
        .await?;
    world.current(&["lighthouse", "old", "new", "away"]).await?;
    for name in ["old", "new"] {
        assert_eq!(way(world.look(name))?, "lan0", "{}", world.look(name).logs());
        world.reaches(name, "lighthouse").await?;
    }
    for name in ["old", "new"] {
        assert_eq!(world.device(name).stop()?, Some(0));
        let routes = run(world.look(name).inside("ip").arg("route"))?;
        assert!(routes.contains("192.168.77.0/24 dev lan0 proto kernel"), "{routes}");
    }

    // A device elsewhere reaches the network through the router.
    run(world.look("new").inside("ip").args(["link", "delete", "lan0"]))?;
    world.device("new").start()?;
    world.reaches("new", "lighthouse").await?;
    assert_eq!(way(world.look("new"))?, "nebula1");
    let dual =
        "SELECT count(*) FROM nebula.certificate c WHERE c.device_id = $1::text::uuid AND c.version = 2
                   AND (SELECT array_agg(family(n) ORDER BY 1) FROM unnest(c.networks) n) = '{4,6}'";
    assert!(client.query_one(dual, &[&world.look("lighthouse").id]).await?.get::<_, i64>(0) > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lighthouses_of_both_releases_answer_dns_where_the_project_says() -> Result<()> {
    let mut world = World::joined(&[("old", "lighthouse", 0), ("new", "lighthouse", 1)]).await?;
    run(world.stack.ctl()?.args(["project", "options", "dnsPort=5353", "dnsDomain=home.arpa"]))?;
    for device in &mut world.devices {
        let tools = device.folder.with_file_name(format!("tools-{}", device.name));
        fs::create_dir(&tools)?;
        fs::write(tools.join("resolvectl"), RESOLVECTL)?;
        fs::set_permissions(tools.join("resolvectl"), fs::Permissions::from_mode(0o755))?;
        device.set_tools(&tools);
        device.start()?;
    }
    for name in ["old", "new"] {
        let device = world.look(name);
        // `nebula -test` does not open the port, and a nebula that cannot goes on without it.
        eventually("the lighthouse to listen for DNS", || async {
            let listening = run(device.inside("ss").args(["-Hlun", "sport = :5353"]))?;
            Ok(listening.contains(":5353").then_some(()))
        })
        .await
        .with_context(|| device.logs())?;
    }

    // The machine's resolver asks them for names of the project's domain, until the agent ends.
    let [old, new] = ["old", "new"].map(|name| world.look(name).address.clone());
    for (name, servers) in [("old", [&old, &new]), ("new", [&new, &old])] {
        let tools = world.look(name).folder.with_file_name(format!("tools-{name}"));
        let setting =
            |verb: &str| fs::read_to_string(tools.join(format!("nebula1.{verb}"))).unwrap_or_default();
        eventually("the resolver to be set", || async { Ok(setting("dns").ends_with('\n').then_some(())) })
            .await
            .with_context(|| world.look(name).logs())?;
        assert_eq!(setting("dns").trim(), servers.map(|address| format!("{address}:5353")).join(" "));
        assert_eq!((setting("domain").trim(), setting("default-route").trim()), ("~home.arpa", "no"));
        assert_eq!(world.device(name).stop()?, Some(0));
        assert_eq!(setting("dns"), "", "it is taken back");
    }
    Ok(())
}

/// 1.6 reads routes only when it starts: one that lies in another waits for the restart that serves all of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_nebula_takes_over_the_rest_at_once_and_routes_of_moved_peers_later() -> Result<()> {
    let mut world =
        World::joined(&[("lighthouse", "lighthouse", 0), ("a", "host", 1), ("b", "host", 1)]).await?;
    let client = world.stack.database.connect().await?;
    let add = |network: &str, device: &str| {
        format!(
            "SELECT nebula.add_route(project_id, '{network}', device_id) FROM nebula.device WHERE name = '{device}';"
        )
    };
    client.batch_execute(&add("192.168.50.0/24", "a")).await?;
    world.device("lighthouse").start()?;
    world.current(&["lighthouse"]).await?;
    let before = world.look("lighthouse").nebulas()?;

    // As when two peers move from one node to another.
    client.batch_execute(&(add("192.168.50.9/32", "b") + &add("192.168.50.10/32", "b"))).await?;
    world.current(&["lighthouse"]).await?;
    let lighthouse = world.look("lighthouse");
    let config = || fs::read_to_string(lighthouse.folder.join("current/nebula.yml"));
    eventually("nebula to be restarted with the routes", || async {
        Ok((lighthouse.nebulas()? != before && config()?.contains("192.168.50.9/32")).then_some(()))
    })
    .await
    .with_context(|| lighthouse.logs())?;
    assert!(config()?.contains("192.168.50.10/32"), "both at once");
    let logs = lighthouse.logs();
    let (reloaded, restarted) = (logs.rfind("(reloaded)"), logs.find("nebula is restarted, because"));
    assert!(reloaded.is_some() && reloaded < restarted, "the rest was taken over before: {logs}");
    assert_eq!(logs.matches("nebula is restarted, because").count(), 1, "{logs}");
    Ok(())
}
