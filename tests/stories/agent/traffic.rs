//! Bytes per peer: counted where the system allows it, removed when the agent ends, and optional where it
//! does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// Bytes in and out of a peer, as the agent last wrote them.
fn bytes(device: &Device, peer: &str) -> Option<(u64, u64)> {
    let status = device.status();
    let peer = status["peers"].as_array()?.iter().find(|one| one["name"] == peer)?.clone();
    Some((peer["receivedBytes"].as_u64()?, peer["sentBytes"].as_u64()?))
}

fn tables(device: &Device) -> Result<String> {
    run(device.inside("nft").args(["list", "tables"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_are_counted_per_peer_while_the_agent_runs() -> Result<()> {
    let mut world = World::joined(&[
        ("lighthouse", "lighthouse", 1),
        ("laptop", "host", 1),
        ("phone", "host", 0),
        ("desktop", "host", 1),
    ])
    .await?;
    // One agent may not use nft, another is told not to.
    let tools = world.stack.path("tools");
    fs::create_dir(&tools)?;
    fs::write(
        tools.join("nft"),
        "#!/bin/sh\necho 'Error: Could not process rule: Operation not permitted' >&2\nexit 1\n",
    )?;
    fs::set_permissions(tools.join("nft"), fs::Permissions::from_mode(0o755))?;
    world.device("phone").set_tools(&tools);
    world.device("desktop").set_options(&["--no-traffic"]);
    for device in &mut world.devices {
        device.start()?;
    }
    for peer in ["phone", "desktop"] {
        world.reaches("laptop", peer).await?;
    }
    let [laptop, phone, desktop] = ["laptop", "phone", "desktop"].map(|name| world.look(name));
    eventually("the laptop to count", || async { Ok(bytes(laptop, "phone")) })
        .await
        .with_context(|| laptop.logs())?;
    let wanted = pings_are_counted(laptop, phone).await?;
    counters_are_shown(&world, wanted).await?;

    // Flushing the ruleset removes the counters and nothing else.
    run(laptop.inside("nft").args(["flush", "ruleset"]))?;
    let anew =
        eventually("to count anew", || async { Ok(tables(laptop)?.contains("nebulactl-").then_some(())) });
    anew.await.with_context(|| laptop.logs())?;

    assert_eq!((bytes(phone, "laptop"), bytes(desktop, "laptop")), (None, None));
    assert!(phone.logs().contains("are not counted"), "{}", phone.logs());
    assert_eq!((tables(phone)?, tables(desktop)?), (String::new(), String::new()));
    assert!(laptop.pings(phone) && laptop.pings(desktop));

    // A new agent removes the counters that a killed one has left, even if it ends at once itself.
    world.device("laptop").kill()?;
    assert!(tables(world.look("laptop"))?.contains("nebulactl-nebula1"));
    world.device("laptop").start()?;
    let laptop = world.look("laptop");
    eventually("its successor", || async { Ok(laptop.logs().contains("goes on with").then_some(())) })
        .await?;
    assert_eq!(world.device("laptop").stop()?, Some(0));
    assert_eq!(tables(world.look("laptop"))?, "");
    Ok(())
}

/// Sends pings, and waits until they are counted, for this peer alone; returns their bytes.
async fn pings_are_counted(laptop: &Device, phone: &Device) -> Result<u64> {
    let before = bytes(laptop, "desktop").context("no count")?;
    let (count, size) = (50, 1000 + 8 + 20);
    run(laptop.inside("ping").args(["-q", "-c", "50", "-i", "0.01", "-s", "1000", &phone.address]))?;
    let counted = eventually("the pings to be counted", || async {
        let counted = bytes(laptop, "phone");
        Ok(counted.filter(|(received, sent)| *received >= count * size && *sent >= count * size))
    });
    let (received, sent) = counted.await.with_context(|| laptop.logs())?;
    assert!(received < 2 * count * size && sent < 2 * count * size, "{received} in, {sent} out");
    let after = bytes(laptop, "desktop").context("no count")?;
    assert!(
        after.0 - before.0 < size && after.1 - before.1 < size,
        "another peer's are its own: {before:?} {after:?}"
    );
    Ok(count * size)
}

/// The agent reports the counters to the gateway, and nebulactl shows them.
async fn counters_are_shown(world: &World, wanted: u64) -> Result<()> {
    let [laptop, phone] = ["laptop", "phone"].map(|name| world.look(name));
    let client = world.stack.database.connect().await?;
    let told = "SELECT count(*) FROM nebula.agent a, jsonb_array_elements(a.report -> 'peers') p
                 WHERE a.device_id = $1::text::uuid AND p ->> 'address' = $2
                  AND (p ->> 'sentBytes')::bigint >= $3";
    eventually("the gateway to be told", || async {
        let row = client.query_one(told, &[&laptop.id, &phone.address, &(wanted as i64)]).await?;
        Ok((row.get::<_, i64>(0) == 1).then_some(()))
    })
    .await?;
    let program = binary::built("nebulactl")?.display().to_string();
    let shown = laptop.inside(&program).args(["status", "--dir"]).arg(&laptop.folder).output()?;
    let shown = String::from_utf8(shown.stdout)?;
    let line = shown.lines().find(|line| line.contains(&phone.address)).context(shown.clone())?;
    assert!(shown.contains("OUT") && line.contains("KiB"), "{shown}");
    Ok(())
}
