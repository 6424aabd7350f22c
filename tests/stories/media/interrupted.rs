//! `nebulactl upload` and `get` while clients and gateways are killed: no byte is lost, and none is sent twice
//! without need.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nebula_tests::binary::{built, root, run};
use nebula_tests::process::Process;
use nebula_tests::stack::{ADMIN, PASSWORD, Stack};
use nebula_tests::{eventually, rounds};
use rustix::process::Signal;
use sha2::{Digest, Sha256};

const MIB: u64 = 1024 * 1024;

/// Bytes that no compression and no mistake repeats.
fn write_film(path: &Path, size: u64) -> Result<String> {
    let bytes: Vec<u8> = (0..size as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    fs::write(path, &bytes)?;
    Ok(hex::encode(Sha256::digest(&bytes)))
}

/// Bytes of the one upload that the gateway has.
fn arrived(stack: &Stack) -> Result<u64> {
    let folder = stack.store().join(".staging/uploads");
    let Ok(entries) = folder.read_dir() else { return Ok(0) };
    let mut sizes = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().extension().is_none() {
            // A finished one goes away between the two looks.
            sizes.extend(entry.metadata().map(|metadata| metadata.len()));
        }
    }
    Ok(sizes.into_iter().max().unwrap_or(0))
}

/// Starts an upload that takes seconds.
fn start_upload(stack: &Stack, film: &Path, log: &Path) -> Result<Process> {
    stack.ctl()?;
    Process::start(&built("nebulactl")?, log, "KILL", None, |command| {
        command.env("XDG_CONFIG_HOME", stack.path("config")).env("XDG_STATE_HOME", stack.path("state"));
        command.env("NEBULA_SERVER", stack.url()).args(["upload", "--limit-rate", "6M"]).arg(film);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_survive_that_clients_and_gateways_are_killed_again_and_again() -> Result<()> {
    let mut stack = Stack::start().await?;
    let (film, log) = (stack.path("film.bin"), stack.path("upload.log"));
    let kills = rounds(4, 20);
    // So many more than are killed at that the last kill finds an upload, however late it comes.
    let sha256 = write_film(&film, (kills as u64 + 12) * MIB)?;
    let mut upload = start_upload(&stack, &film, &log)?;
    for kill in 0..kills as u64 {
        let wanted = (kill + 1) * MIB;
        eventually("bytes to arrive", || async { Ok((arrived(&stack)? >= wanted).then_some(())) }).await?;
        if kill % 2 == 0 {
            upload.signal(Signal::KILL)?;
            upload.wait()?;
            upload = start_upload(&stack, &film, &log)?;
        } else {
            stack.kill_gateway()?;
            let kept = arrived(&stack)?;
            stack.start_gateway().await?;
            ensure!(arrived(&stack)? >= kept, "what has arrived stays");
        }
    }
    assert_eq!(upload.wait()?, Some(0), "{}", fs::read_to_string(&log)?);
    let api = stack.admin().await?;
    let file = api.settled("film.bin").await?;
    assert_eq!(file.sha256, sha256);
    let told = fs::read_to_string(&log)?;
    ensure!(told.contains("of it before"), "it went on where it stopped: {told}");
    assert_eq!(stack.path("state/nebulactl/uploads").read_dir()?.count(), 0, "its notes are gone");
    let got = stack.path("got.bin");
    run(stack.ctl()?.args(["get", "--quiet", "film.bin", "-o"]).arg(&got))?;
    assert_eq!(hex::encode(Sha256::digest(fs::read(got)?)), sha256);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_sent_again_and_what_is_refused_is_listed() -> Result<()> {
    let stack = Stack::start().await?;
    let folder = stack.path("Trip");
    fs::create_dir(&folder)?;
    let write = |name: &str, text: &str| fs::write(folder.join(name), text);
    write("a.txt", "one")?;
    write("b.txt", "two")?;
    let upload = |stack: &Stack| -> Result<(Option<i32>, String, String)> {
        let output = stack.ctl()?.args(["upload", "-j1"]).arg(&folder).output()?;
        Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
    };
    let (code, ..) = upload(&stack)?;
    assert_eq!(code, Some(0));
    // The same once more, one with other bytes of the same size, the same bytes under another name, and a name
    // that is not allowed.
    write("b.txt", "TWO")?;
    write("c.txt", "one")?;
    write("d\u{202e}.txt", "four")?;
    let (code, said, refused) = upload(&stack)?;
    assert_eq!(code, Some(1));
    ensure!(said.contains("a.txt is there already with this content"), "{said}");
    ensure!(said.contains("the project has the same bytes under another name"), "{said}");
    ensure!(said.ends_with("2 files were not uploaded:\n"), "{said}");
    ensure!(refused.contains("b.txt\" with other content exists"), "{refused}");
    ensure!(refused.contains("U+202A"), "{refused}");
    let staged = stack.store().join(".staging/uploads").read_dir()?;
    let bytes = staged.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_none());
    assert_eq!(bytes.collect::<Vec<PathBuf>>(), Vec::<PathBuf>::new(), "nothing half done stays");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_the_console_survive_a_killed_gateway_and_a_reload() -> Result<()> {
    let mut stack = Stack::start().await?;
    // Pictures for people, where the environment wants them.
    let pictures = std::env::var_os("NEBULA_PICTURES").map_or_else(|| stack.path("pictures"), PathBuf::from);
    fs::create_dir_all(&pictures)?;
    let sha256 = write_film(&pictures.join("film.bin"), 24 * MIB)?;
    fs::create_dir_all(pictures.join("other"))?;
    fs::create_dir_all(pictures.join("holiday/day 1"))?;
    let small = [("other/film.bin", 1000), ("holiday/day 1/sea.bin", 2000)];
    for (name, size) in [("other.bin", 6 * MIB), ("third.bin", 7 * MIB)].into_iter().chain(small) {
        write_film(&pictures.join(name), size)?;
    }
    let log = stack.path("browser.log");
    let mut browser = Process::start(Path::new("npm"), &log, "KILL", None, |npm| {
        npm.arg("--prefix").arg(root().join("gateway/web")).args(["--silent", "run", "e2e", "--", "uploads"]);
        npm.env("NEBULA_URL", stack.url()).env("NEBULA_USERNAME", ADMIN).env("NEBULA_PASSWORD", PASSWORD);
        npm.env("NEBULA_PICTURES", &pictures);
    })?;
    let words = || fs::read_to_string(&log).unwrap_or_default();
    // Far enough for a pace to be shown, and far from the end.
    eventually("bytes to arrive", || async { Ok((arrived(&stack)? >= 9 * MIB).then_some(())) })
        .await
        .with_context(words)?;
    stack.kill_gateway()?;
    stack.start_gateway().await?;
    assert_eq!(browser.wait()?, Some(0), "{}", words());
    assert_eq!(stack.admin().await?.settled("film.bin").await?.sha256, sha256);
    let kept = stack.stored()?.into_iter().filter(|path| path.metadata().is_ok_and(|data| data.len() >= MIB));
    assert_eq!(kept.count(), 2, "the cancelled one is nowhere");
    Ok(())
}
