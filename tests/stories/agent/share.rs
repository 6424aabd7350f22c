//! Syncthing shares a folder over the overlay; on the underlay there are only nebula's packets.

use std::fs;
use std::path::Path;

use nebula_tests::process::Process;
use nebula_tests::rounds;
use rand::RngExt;

use super::*;

/// Counts packets on a host's underlay interface: those of nebula, and all others.
const WATCH: &str = "
table inet watch {
  counter nebula { }
  counter other { }
  chain in { type filter hook input priority 0; iifname eth0 jump sort; }
  chain out { type filter hook output priority 0; oifname eth0 jump sort; }
  chain sort {
    udp sport 4242 udp dport 4242 counter name nebula return
    # Neighbours of IPv6 are looked for on every interface that comes up.
    meta l4proto ipv6-icmp return
    # Until nebula runs the system turns others' packets for it away.
    icmp type destination-unreachable return
    counter name other
  }
}";

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_shared_only_over_the_overlay() -> Result<()> {
    let mut world =
        World::joined(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 1), ("phone", "host", 0)])
            .await?;
    for device in &world.devices {
        let rules = world.stack.path(&format!("{}.nft", device.name));
        fs::write(&rules, WATCH)?;
        run(device.inside("nft").arg("-f").arg(&rules))?;
    }
    for device in &mut world.devices[1..] {
        device.set_options(&["--syncthing", "syncthing"]);
    }
    for device in &mut world.devices {
        device.start()?;
    }
    let [laptop, phone] = ["laptop", "phone"].map(|name| world.look(name));
    let size = rounds(20, 200) << 20;
    shares(laptop).await?;
    shares(phone).await?;

    let mut content: Vec<u8> = random(size);
    let begun = Instant::now();
    write(laptop, "film.mkv", &content)?;
    arrives(phone, "film.mkv", &content).await?;
    let first = begun.elapsed();
    let reply = random(1 << 20);
    write(phone, "reply.txt", &reply)?;
    arrives(laptop, "reply.txt", &reply).await?;

    // A killed agent leaves Syncthing running, and the next agent finds it.
    let before = syncthings(phone)?;
    world.device("phone").kill()?;
    world.device("phone").start()?;
    let [laptop, phone] = ["laptop", "phone"].map(|name| world.look(name));
    eventually("its successor to have looked", || async {
        let log = phone.logs();
        Ok(log.contains("goes on with configuration").then_some(()))
    })
    .await?;
    assert_eq!(syncthings(phone)?, before);

    a_change_moves_little(laptop, phone, &mut content, first).await?;
    for device in [laptop, phone] {
        only_nebula_was_seen(device, size as u64)?;
    }
    // No process is left when the agent ends.
    assert_eq!(world.device("laptop").stop()?, Some(0));
    let left = run(world.look("laptop").inside("ss").args(["-Htulpn"]))?;
    assert!(!left.contains("syncthing"), "{left}");
    Ok(())
}

/// One per cent of the file changes: only about that much is transferred.
async fn a_change_moves_little(
    laptop: &Device,
    phone: &Device,
    content: &mut [u8],
    first: Duration,
) -> Result<()> {
    let size = content.len();
    let before = received(phone)?;
    let (from, length) = (size / 3, size / 100);
    content[from..from + length].copy_from_slice(&random(length));
    let begun = Instant::now();
    write(laptop, "film.mkv", content)?;
    arrives(phone, "film.mkv", content).await?;
    let moved = received(phone)? - before;
    eprintln!(
        "{} MiB in {first:?}; 1 % changed: {moved} bytes ({:.2} %) in {:?}",
        size >> 20,
        100.0 * moved as f64 / size as f64,
        begun.elapsed()
    );
    ensure!(
        moved >= length as u64 && moved < size as u64 / 20,
        "{moved} bytes moved for {length} that changed"
    );
    Ok(())
}

/// The underlay has carried this many bytes, all of them as nebula's packets.
fn only_nebula_was_seen(device: &Device, size: u64) -> Result<()> {
    let counters = run(device.inside("nft").args(["list", "counters"]))?;
    let [nebula, other] = ["nebula", "other"].map(|name| counter(&counters, name));
    ensure!(nebula.context(counters.clone())? > size, "all of it passed as nebula's packets: {counters}");
    assert_eq!(other, Some(0), "{}: something else was seen on the underlay: {counters}", device.name);
    Ok(())
}

/// Waits until a device's Syncthing has the project's folder.
async fn shares(device: &Device) -> Result<()> {
    let what = format!("{} to share the folder", device.name);
    let shared = eventually(&what, || async {
        Ok(device.status()["syncthing"]["folders"][0]["id"].as_str().map(|_| ()))
    });
    shared.await.with_context(|| device.logs())
}

fn random(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rand::rng().fill(&mut bytes[..]);
    bytes
}

/// Writes a file beside the old one and renames it, as programs save.
fn write(device: &Device, name: &str, content: &[u8]) -> Result<()> {
    let folder = device.folder.join("shared");
    let staged = device.folder.join("staged");
    fs::write(&staged, content)?;
    Ok(fs::rename(staged, folder.join(name))?)
}

async fn arrives(device: &Device, name: &str, content: &[u8]) -> Result<()> {
    let path = device.folder.join("shared").join(name);
    let what = format!("{name} to arrive at {}", device.name);
    let seen = eventually(&what, || async {
        let here = fs::metadata(&path).is_ok_and(|file| file.len() == content.len() as u64);
        Ok((here && fs::read(&path)? == content).then_some(()))
    });
    seen.await.with_context(|| device.logs())
}

/// Process ids of Syncthing.
fn syncthings(device: &Device) -> Result<Vec<String>> {
    let all = run(device.inside("ps").args(["-C", "syncthing", "-o", "pid=,args="]))?;
    let home = device.folder.join("syncthing").display().to_string();
    let mine = all.lines().filter(|line| line.contains(&home));
    Ok(mine.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect())
}

/// Bytes that came in through the overlay's interface.
fn received(device: &Device) -> Result<u64> {
    let text = run(device.inside("cat").arg("/sys/class/net/nebula1/statistics/rx_bytes"))?;
    Ok(text.trim().parse()?)
}

/// The bytes of a counter.
fn counter(list: &str, name: &str) -> Option<u64> {
    let (_, block) = list.split_once(&format!("counter {name} {{"))?;
    let (_, bytes) = block.split_once("bytes ")?;
    bytes.split_whitespace().next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_syncthing_is_moved_onto_the_overlay() -> Result<()> {
    let mut world =
        World::joined(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 1), ("phone", "host", 0)])
            .await?;
    world.device("laptop").set_options(&["--syncthing", "syncthing"]);
    let home = world.stack.path("own");
    let _syncthing = start_own(&world, &home)?;
    let home_option = home.display().to_string();
    world.device("phone").set_options(&["--syncthing-home", &home_option]);
    for device in &mut world.devices {
        device.start()?;
    }
    let [laptop, phone] = ["laptop", "phone"].map(|name| world.look(name));
    shares(laptop).await?;
    shares(phone).await?;
    let content = random(1 << 20);
    write(laptop, "photo.jpg", &content)?;
    arrives(phone, "photo.jpg", &content).await?;

    let config = home.join("config.xml");
    let told = fs::read_to_string(&config)?;
    is_private(&told);
    eventually("the phone to tell of what it has", || async {
        let folder = &phone.status()["syncthing"]["folders"][0];
        Ok((folder["totalBytes"] == 1 << 20 && folder["missingBytes"] == 0).then_some(()))
    })
    .await?;
    let folders = phone
        .inside(&binary::built("nebulactl")?.display().to_string())
        .args(["status", "--dir"])
        .arg(&phone.folder)
        .output()?;
    let folders = String::from_utf8(folders.stdout)?;
    assert!(
        folders.contains("FOLDER") && folders.contains("100.0 %") && folders.contains("1.0 MiB"),
        "{folders}"
    );

    // A revoked device is removed from the folder, too.
    let id = laptop.status()["syncthing"]["id"].as_str().context("no identifier")?.to_owned();
    assert!(told.contains(&id));
    run(world.stack.ctl()?.args(["device", "revoke", "laptop", "--yes"]))?;
    let gone = eventually("the laptop to be forgotten", || async {
        Ok((!fs::read_to_string(&config)?.contains(&id)).then_some(()))
    });
    gone.await.with_context(|| phone.logs())?;
    // The agent ends without stopping the owner's Syncthing.
    assert_eq!(world.device("phone").stop()?, Some(0));
    let left = run(world.look("phone").inside("ss").args(["-Htlpn"]))?;
    assert!(left.contains("syncthing"), "{left}");
    Ok(())
}

/// The owner's own Syncthing: with discovery and relays, and not started by the agent.
fn start_own(world: &World, home: &Path) -> Result<Process> {
    let own = |phone: &Device, verb: &str, more: &[&str]| {
        let mut command = phone.inside("syncthing");
        command.arg(verb).arg(format!("--home={}", home.display())).args(more);
        command
    };
    run(&mut own(world.look("phone"), "generate", &["--no-default-folder", "--skip-port-probing"]))?;
    let log = world.stack.log("syncthing");
    let serve = own(world.look("phone"), "serve", &["--no-browser", "--no-upgrade"]);
    Process::start(Path::new("ip"), &log, "TERM", None, |command| {
        command.args(serve.get_args()).env("HOME", home);
    })
}

/// The configuration of Syncthing names the overlay and no service on the internet.
fn is_private(told: &str) {
    for wanted in [
        "<globalAnnounceEnabled>false",
        "<localAnnounceEnabled>false",
        "<relaysEnabled>false",
        "<natEnabled>false",
        "<crashReportingEnabled>false",
        "<urAccepted>-1",
        "<listenAddress>tcp://10.99.0.3:22000<",
        "<address>tcp://10.99.0.2:22000<",
    ] {
        assert!(told.contains(wanted), "{wanted} is not in\n{told}");
    }
}
