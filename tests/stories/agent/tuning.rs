//! A project sets options of its Syncthing folder, and every Syncthing applies them.

use std::fs;

use super::*;

/// Waits until a device's Syncthing has all of this in its configuration.
async fn has(device: &Device, wanted: &[&str]) -> Result<String> {
    let path = device.folder.join("syncthing/config.xml");
    let what = format!("{} to have {wanted:?}", device.name);
    let seen = eventually(&what, || async {
        let text = fs::read_to_string(&path).unwrap_or_default();
        // The configuration also holds defaults for new folders and devices, which do not matter here.
        let text = text.split("<defaults>").next().unwrap_or_default().to_owned();
        Ok(wanted.iter().all(|line| text.contains(line)).then_some(text))
    });
    seen.await.with_context(|| device.logs())
}

#[tokio::test(flavor = "multi_thread")]
async fn project_options_reach_every_syncthing() -> Result<()> {
    let mut world =
        World::joined(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 1), ("phone", "host", 0)])
            .await?;
    for device in &mut world.devices[1..] {
        device.set_options(&["--syncthing", "syncthing"]);
    }
    for device in &mut world.devices {
        device.start()?;
    }
    let [laptop, phone] = ["laptop", "phone"].map(|name| world.look(name));
    let folder = "<folder id=\"nebula-";
    let own = [folder, "<maxConcurrentWrites>2<", "<hashers>0<", "<blockPullOrder>standard<"];
    has(laptop, &own).await.context("what Syncthing chooses itself")?;

    let options =
        ["syncHashers=1", "syncWrites=8", "syncOrder=inOrder", "syncPendingKib=65536", "syncConnections=2"];
    let shown = run(world.stack.ctl()?.args(["project", "options"]).args(options))?;
    assert!(shown.contains("syncPendingKib") && shown.contains("65536"), "{shown}");
    let told =
        ["<hashers>1<", "<maxConcurrentWrites>8<", "<blockPullOrder>inOrder<", "<pullerMaxPendingKiB>65536<"];
    has(laptop, &told).await?;
    let text = has(phone, &told).await?;
    // An option that this release of Syncthing does not have is ignored.
    assert!(!text.contains("numConnections"), "{text}");
    fs::write(laptop.folder.join("shared/film.mkv"), [7; 1 << 20])?;
    let film = phone.folder.join("shared/film.mkv");
    let arrived = eventually("a film to arrive", || async {
        Ok(fs::metadata(&film).is_ok_and(|film| film.len() == 1 << 20).then_some(()))
    });
    arrived.await.with_context(|| phone.logs())?;

    // An option that the project no longer sets returns to Syncthing's own default, also through an agent
    // that did not set it. An invalid value is refused and changes nothing.
    assert_eq!(world.device("phone").stop()?, Some(0));
    run(world.stack.ctl()?.args(["project", "options", "syncHashers=", "syncOrder="]))?;
    world.device("phone").start()?;
    let back = [
        "<hashers>0<",
        "<maxConcurrentWrites>8<",
        "<blockPullOrder>standard<",
        "<pullerMaxPendingKiB>65536<",
    ];
    for name in ["laptop", "phone"] {
        has(world.look(name), &back).await?;
    }
    for wrong in ["syncWrites=65", "syncPendingKib=1", "syncOrder=backwards", "syncColour=red"] {
        let refused = run(world.stack.ctl()?.args(["project", "options", wrong]));
        assert!(refused.is_err(), "{wrong}");
    }
    let left = run(world.stack.ctl()?.args(["project", "options"]))?;
    assert!(!left.contains("syncHashers") && !left.contains("syncOrder"), "{left}");
    assert!(left.contains("syncWrites"), "{left}");
    Ok(())
}

/// Options chosen by the owner of a Syncthing stay, also where the project has set the same value for a
/// while.
#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_option_keeps_the_owners_own_choice() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 1)]).await?;
    world.device("laptop").set_options(&["--syncthing", "syncthing"]);
    for device in &mut world.devices {
        device.start()?;
    }
    let laptop = world.look("laptop");
    let options = |options: &[&str]| run(world.stack.ctl()?.args(["project", "options"]).args(options));
    has(laptop, &["<folder id=\"nebula-"]).await?;
    let home = format!("--home={}", laptop.folder.join("syncthing").display());
    let folder = format!("nebula-{}", world.stack.project);
    let chosen = ["cli", &home, "config", "folders", &folder, "max-concurrent-writes", "set", "8"];
    run(laptop.inside("syncthing").args(chosen))?;
    has(laptop, &["<maxConcurrentWrites>8<"]).await?;
    options(&["syncWrites=8", "syncHashers=1"])?;
    has(laptop, &["<hashers>1<", "<maxConcurrentWrites>8<"]).await?;
    options(&["syncWrites=", "syncHashers="])?;
    let text = has(laptop, &["<hashers>0<"]).await?;
    assert!(text.contains("<maxConcurrentWrites>8<"), "{text}");
    Ok(())
}
