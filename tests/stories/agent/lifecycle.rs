//! The life of a device: join, reach others, be revoked, lose a lighthouse, leave.

use std::process::Command;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn devices_join_reach_each_other_and_are_revoked() -> Result<()> {
    let mut world = World::start(&PLAN).await?;
    wall_off(&world)?;
    for (from, to) in [
        ("laptop", "lighthouse-a"),
        ("phone", "lighthouse-b"),
        ("laptop", "phone"),
        ("phone", "desktop"),
        ("desktop", "laptop"),
        ("lighthouse-b", "laptop"),
    ] {
        world.reaches(from, to).await?;
    }
    let everyone: Vec<&str> = PLAN.iter().map(|(name, ..)| *name).collect();
    world.current(&everyone).await?;
    // The agent reads tunnels from the log of either release.
    for (name, peer) in [("laptop", "desktop"), ("phone", "desktop")] {
        eventually(&format!("{name} to see its tunnel to {peer}"), || async {
            let status = world.look(name).status();
            let peers = status["peers"].as_array().cloned().unwrap_or_default();
            Ok(peers.iter().any(|known| known["name"] == peer).then_some(()))
        })
        .await?;
    }

    ways_are_told(&world)?;
    status_is_complete(world.look("laptop"))?;
    revoke(&world, "desktop", ["phone", "laptop"]).await?;
    world.reaches("laptop", "phone").await?;
    lose_lighthouse(&mut world).await?;
    world.reaches("laptop", "phone").await?;
    leave(&world).await
}

/// Lets two devices reach each other through the relay only.
fn wall_off(world: &World) -> Result<()> {
    for (host, other) in [(4, 5), (5, 4)] {
        let rule = format!(
            "add table ip wall; add chain ip wall in {{ type filter hook input priority 0; }}; \
             add rule ip wall in ip saddr {} drop",
            Network::address(other)
        );
        run(world.devices[host - 1].inside("nft").arg(rule))?;
    }
    Ok(())
}

/// Devices are found by name without an account, and told by which way.
fn ways_are_told(world: &World) -> Result<()> {
    let laptop = world.look("laptop");
    let peers = laptop.status()["peers"].clone();
    let phone = peers.as_array().into_iter().flatten().find(|peer| peer["name"] == "phone");
    let remote = phone.and_then(|peer| peer["remote"].as_str()).unwrap_or_default();
    assert_eq!(remote, format!("relay {}:4242", Network::address(3)), "{peers}");
    let relay = "through the relay relay (10.99.0.3)";
    let direct = |host: usize| format!("directly, at {}:", Network::address(host));
    for (from, to, way) in [
        ("laptop", "phone", relay.to_owned()),
        ("phone", "Laptop", relay.to_owned()),
        ("laptop", "desktop", direct(6)),
        ("phone", "10.99.0.6", direct(6)),
        ("laptop", "laptop", "it is this machine".to_owned()),
    ] {
        let told = run(&mut ping(world.look(from), to)?)?;
        assert!(told.contains("answers in") && told.contains(&way), "{from} to {to}: {told}");
    }
    let unknown = run(&mut ping(laptop, "nobody")?).unwrap_err().to_string();
    assert!(unknown.contains("there is no device \"nobody\" in story"), "{unknown}");
    Ok(())
}

fn status_is_complete(laptop: &Device) -> Result<()> {
    let status = run(laptop
        .inside(&binary::built("nebulactl")?.display().to_string())
        .arg("status")
        .arg("--dir")
        .arg(&laptop.folder))?;
    for wanted in [
        "laptop in story: 10.99.0.4",
        "running",
        "1.11.0, configuration",
        "desktop",
        "Valid     until",
        "Traffic",
    ] {
        assert!(status.contains(wanted), "{wanted} is not in\n{status}");
    }
    Ok(())
}

/// Revokes a device, which is cut off from all others within a minute.
async fn revoke(world: &World, name: &str, others: [&str; 2]) -> Result<()> {
    let begun = Instant::now();
    let told = run(world.stack.ctl()?.args(["device", "revoke", name, "--yes"]))?;
    let known_by_all = begun.elapsed();
    assert!(told.contains("revoked everywhere"), "{told}");
    for other in others {
        let (device, revoked) = (world.look(other), world.look(name));
        eventually(&format!("{other} to hear no more of {name}"), || async {
            Ok((!device.pings(revoked) && !revoked.pings(device)).then_some(()))
        })
        .await?;
        eprintln!("{other} is rid of {name} after {:?}", begun.elapsed());
    }
    eprintln!("revoked everywhere after {known_by_all:?}");
    ensure!(begun.elapsed() < MINUTE, "cut off after {:?}", begun.elapsed());
    Ok(())
}

/// One lighthouse stops: the others find each other through the second one.
async fn lose_lighthouse(world: &mut World) -> Result<()> {
    let fallen = world.device("lighthouse-a");
    fallen.kill()?;
    for pid in fallen.nebulas()? {
        run(fallen.inside("kill").args(["-KILL", &pid]))?;
    }
    for name in ["laptop", "phone"] {
        assert_eq!(world.device(name).stop()?, Some(0));
        assert_eq!(world.look(name).nebulas()?, [""; 0], "an agent that ends takes nebula with it");
        world.device(name).start()?;
    }
    Ok(())
}

/// Leaving tells the gateway and removes the keys.
async fn leave(world: &World) -> Result<()> {
    let laptop = world.look("laptop");
    let mut leave = laptop.inside(&binary::built("nebulactl")?.display().to_string());
    let told = run(leave.args(["leave", "--yes", "--dir"]).arg(&laptop.folder))?;
    assert!(told.contains("its keys are gone"), "{told}");
    assert!(!laptop.folder.exists() && laptop.nebulas()?.is_empty());
    let client = world.stack.database.connect().await?;
    let row = client
        .query_one(
            "SELECT revoked_at IS NOT NULL FROM nebula.device WHERE device_id = $1::text::uuid",
            &[&laptop.id],
        )
        .await?;
    assert!(row.get::<_, bool>(0));
    Ok(())
}

/// `nebulactl ping` on a device, by nobody who is signed in.
fn ping(from: &Device, to: &str) -> Result<Command> {
    let mut command = from.inside(&binary::built("nebulactl")?.display().to_string());
    command.env("XDG_CONFIG_HOME", from.folder.join("nobody")).args(["ping", to, "--dir"]).arg(&from.folder);
    Ok(command)
}
