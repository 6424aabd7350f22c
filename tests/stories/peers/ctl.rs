//! `nebulactl peer` and `nebulactl node` against a node that acknowledges what it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nebula_tests::binary::run;
use nebula_tests::eventually;
use nebula_tests::stack::{ADMIN, Stack};
use serde_json::Value;

use super::fake_node::{FakeNode, key};
use super::losing_proxy::LosingProxy;

/// `nebulactl` in the stack's folder, where it writes `.conf` files.
fn ctl(stack: &Stack, arguments: &[&str]) -> Result<Command> {
    let mut command = stack.ctl()?;
    command.current_dir(stack.path("")).args(arguments);
    Ok(command)
}

/// The JSON document that a command prints.
fn document(stack: &Stack, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&run(ctl(stack, &["--json"])?.args(arguments))?)?)
}

/// Standard error of a command that must fail.
fn refused(stack: &Stack, arguments: &[&str]) -> Result<String> {
    let output = ctl(stack, arguments)?.output()?;
    ensure!(!output.status.success(), "{arguments:?} was taken");
    Ok(String::from_utf8(output.stderr)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_gets_a_file_that_wireguard_takes_and_its_key_stays_here() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let one = FakeNode::new(&stack, &admin, "one").await?.follow();
    let two = FakeNode::new(&stack, &admin, "two").await?.follow();
    let made =
        document(&stack, &["peer", "create", "phone", "--strategy", "one", "--preshared", "--wait=15"])?;
    ensure!(made["state"] == "active" && made["node"] == "one", "{made}");
    let file = stack.path("phone.conf");
    ensure!(file.metadata()?.permissions().mode() & 0o777 == 0o600, "others can read the file");
    run(Command::new("wg-quick").arg("strip").arg(&file))?;
    let conf = fs::read_to_string(&file)?;
    let private =
        conf.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).context("no private key")?;
    let public = {
        let mut wg = Command::new("sh");
        run(wg.args(["-c", "grep PrivateKey \"$0\" | cut -d ' ' -f 3 | wg pubkey"]).arg(&file))?
    };
    ensure!(made["publicKey"] == public.trim(), "{public} is not the key of {made}");
    ensure!(
        !fs::read_to_string(stack.log("gateway"))?.contains(private),
        "the gateway has seen a private key"
    );
    // The picture has the same content; on no terminal it is printed as it is.
    ensure!(run(&mut ctl(&stack, &["peer", "qr", "phone"])?)?.lines().count() > 20);
    // It moves, keeps its key, and gets a file for the other node.
    let elsewhere = ["peer", "move", "phone", "--to", "two", "--wait=15"];
    run(&mut ctl(&stack, &elsewhere)?)?;
    let stays = document(&stack, &["peer", "move", "phone", "--cancel"])?;
    ensure!(stays[0]["peer"]["node"] == "one" && stays[0]["peer"]["movingTo"].is_null(), "{stays}");
    eventually("the other node to let it go", || async { Ok(run(&mut ctl(&stack, &elsewhere)?).ok()) })
        .await?;
    run(&mut ctl(&stack, &["peer", "conf", "phone"])?)?;
    let moved = fs::read_to_string(&file)?;
    ensure!(moved.contains(private) && moved.contains("two.example"), "not the file for the other node");
    let renewed = document(&stack, &["peer", "conf", "phone", "--new-key", "--yes", "--out", "other.conf"])?;
    ensure!(
        renewed["file"] == "other.conf" && !fs::read_to_string(stack.path("other.conf"))?.contains(private)
    );
    ensure!(refused(&stack, &["peer", "conf", "phone"])?.contains("is not in this folder"));
    run(&mut ctl(&stack, &["peer", "disable", "phone"])?)?;
    ensure!(document(&stack, &["peer", "show", "phone"])?["state"] == "disabled");
    run(&mut ctl(&stack, &["peer", "rm", "phone", "--yes", "--wait=15"])?)?;
    let left = document(&stack, &["peer", "ls"])?;
    ensure!(left.as_array().is_some_and(Vec::is_empty), "{left}");
    one.abort();
    two.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_leaves_neither_a_second_peer_nor_a_peer_without_its_key() -> Result<()> {
    let stack = Stack::start().await?;
    let node = FakeNode::new(&stack, &stack.admin().await?, "one").await?.follow();
    let proxy = LosingProxy::start(&stack, 2).await?;
    let ctl = |arguments: &[&str]| -> Result<Command> {
        let mut command = ctl(&stack, arguments)?;
        command.env("NEBULA_SERVER", &proxy.url).env("XDG_CONFIG_HOME", stack.path("config-of-proxy"));
        Ok(command)
    };
    run(ctl(&["login", ADMIN, "--password-file"])?.arg(stack.path("password")))?;
    let made =
        run(&mut ctl(&["--json", "peer", "create", "phone", "--public-key", &key(), "--strategy", "one"])?)?;
    let made: Value = serde_json::from_str(&made)?;
    ensure!(made["name"] == "phone" && proxy.lost() == 2, "{made}, {} answers lost", proxy.lost());
    // A gateway that stays away: the key is kept beside the peer, which exists.
    proxy.lose(u32::MAX);
    let output = ctl(&["peer", "create", "tv", "--strategy", "one"])?.output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(!output.status.success() && said.contains("may exist") && said.contains("tv.conf"), "{said}");
    proxy.lose(0);
    let peers = document(&stack, &["peer", "ls"])?;
    let peers = peers.as_array().context("no list")?;
    let of = |name: &str| peers.iter().filter(|peer| peer["name"] == name).collect::<Vec<_>>();
    ensure!(of("phone").len() == 1 && of("tv").len() == 1, "{peers:?}");
    let mut wg = Command::new("sh");
    let public = run(wg
        .args(["-c", "grep PrivateKey \"$0\" | cut -d ' ' -f 3 | wg pubkey"])
        .arg(stack.path("tv.conf")))?;
    ensure!(of("tv")[0]["publicKey"] == public.trim(), "{public} is not the key of {peers:?}");
    node.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_another_server_are_imported_after_a_dry_run() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let node = FakeNode::new(&stack, &admin, "one").await?.follow();
    run(&mut ctl(&stack, &["node", "interface", "set", "one", "wg0", "--cidr", "10.8.0.0/24"])?)?;
    let [phone, tv, away] = [key(), key(), key()];
    let text = format!(
        "[Interface]\nPrivateKey = {}\nAddress = 10.8.0.1/24\n\n# Client: phone (1)\n[Peer]\nPublicKey = {phone}\n\
         PresharedKey = {}\nAllowedIPs = 10.8.0.7/32\n\n#[disabled] ### begin tv ###\n#[disabled] [Peer]\n\
         #[disabled] PublicKey = {tv}\n#[disabled] AllowedIPs = 10.8.0.8/32\n#[disabled] ### end tv ###\n\
         [Peer]\n# away\nPublicKey = {away}\nAllowedIPs = 10.9.0.3/32\n",
        key(),
        key()
    );
    fs::write(stack.path("wg0.conf"), text)?;
    let arguments = ["peer", "import", "wg0.conf", "--strategy", "one"];
    let plan = document(&stack, &arguments)?;
    ensure!(
        plan["peers"].as_array().is_some_and(|peers| peers.len() == 3) && plan["results"].is_null(),
        "{plan}"
    );
    ensure!(
        document(&stack, &["peer", "ls"])?.as_array().is_some_and(Vec::is_empty),
        "a dry run created peers"
    );
    run(ctl(&stack, &arguments)?.arg("--yes"))?;
    let peers = document(&stack, &["peer", "ls"])?;
    let find = |name: &str| {
        let peers = peers.as_array().into_iter().flatten();
        peers.clone().find(|peer| peer["name"] == name).with_context(|| format!("no {name} in {peers:?}"))
    };
    let addresses = |peer: &Value| peer["addresses"][0].as_str().unwrap_or_default().to_owned();
    ensure!(addresses(find("phone")?) == "10.8.0.7" && find("phone")?["preshared"] == true);
    ensure!(addresses(find("tv")?) == "10.8.0.8" && find("tv")?["disabled"] == true);
    ensure!(addresses(find("away")?).starts_with("10.8.0."), "{}", find("away")?);
    // A second run finds them there.
    let again = document(&stack, &arguments)?;
    ensure!(again["peers"].as_array().is_some_and(Vec::is_empty), "{again}");
    node.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_with_line_breaks_are_refused_before_they_are_sent() -> Result<()> {
    let stack = Stack::start().await?;
    for arguments in [
        &["peer", "create", "a\nPostUp = reboot"][..],
        &["peer", "create", "a", "--group", "b\rc"],
        &["peer", "create", "a", "--network", "10.0.0.0/8\n"],
        &["node", "register", "a\nb", "--endpoint", "a:1"],
        &["node", "register", "a", "--endpoint", "a\nb:1"],
        &["node", "update", "a", "--label", "a=b\nc"],
        &["node", "interface", "set", "a", "wg0\n"],
    ] {
        let error = refused(&stack, arguments)?;
        ensure!(error.starts_with("error: invalid value"), "{arguments:?}: {error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_changed_drained_and_removed() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let node = FakeNode::new(&stack, &admin, "one").await?.follow();
    let changed = document(
        &stack,
        &[
            "node",
            "update",
            "one",
            "--weight",
            "200",
            "--soft-max-peers",
            "80",
            "--label",
            "site=attic",
            "--repair",
            "no",
        ],
    )?;
    ensure!(
        changed["weight"] == 200 && changed["softMaxPeers"] == 80 && changed["repair"] == false,
        "{changed}"
    );
    ensure!(changed["labels"]["site"] == "attic", "{changed}");
    let changed = document(&stack, &["node", "update", "one", "--soft-max-peers", "none"])?;
    ensure!(changed["softMaxPeers"].is_null() && changed["weight"] == 200, "{changed}");
    let other = FakeNode::new(&stack, &admin, "two").await?.follow();
    run(&mut ctl(&stack, &["peer", "create", "tv", "--strategy", "one", "--public-key", &key()])?)?;
    let moved = document(&stack, &["node", "drain", "one"])?;
    ensure!(moved[0]["peer"]["movingTo"] == "two" && moved[1].is_null(), "{moved}");
    ensure!(run(&mut ctl(&stack, &["node", "ls"])?)?.contains("draining"));
    ensure!(document(&stack, &["node", "enable", "one"])?["eligible"] == true);
    run(&mut ctl(&stack, &["node", "interface", "set", "one", "wg1", "--port", "51821", "--mtu", "1300"])?)?;
    let shown = run(&mut ctl(&stack, &["node", "show", "one"])?)?;
    ensure!(shown.contains("wg1: port 51821") && shown.contains("MTU 1300"), "{shown}");
    run(&mut ctl(&stack, &["node", "interface", "rm", "one", "wg1", "--yes"])?)?;
    ensure!(!run(&mut ctl(&stack, &["node", "show", "one"])?)?.contains("wg1"));
    node.abort();
    other.abort();
    run(&mut ctl(&stack, &["node", "rm", "one", "--force", "--yes"])?)?;
    let left = document(&stack, &["node", "ls"])?;
    ensure!(left[0]["name"] == "two" && left[1].is_null(), "{left}");
    Ok(())
}
