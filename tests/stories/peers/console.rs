//! The console in a real Chromium: a node is chosen for a peer, its `.conf` is handed out, and it moves.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nebula_tests::api::data;
use nebula_tests::binary::{root, run};
use nebula_tests::stack::{ADMIN, PASSWORD, Stack};
use serde_json::{Value, json};

use super::fake_node::{FakeNode, key};

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_created_moved_and_removed_in_a_browser() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    let mut followers = Vec::new();
    for name in ["alpha", "beta", "full"] {
        let node = FakeNode::new(&stack, &admin, name).await?;
        if name == "full" {
            let path = format!("/api/nodes/{}", node.node);
            data::<Value>(admin.patch(&path).json(&json!({ "maxPeers": 1 })).send().await?).await?;
        }
        followers.push(node.follow());
    }
    let peers = json!([{ "name": "radio", "publicKey": key() }]);
    let body = json!({ "projectId": stack.project, "strategy": "full", "peers": peers });
    data::<Value>(admin.post("/api/peers").json(&body).send().await?).await?;
    let lamps = ["lamp-1", "lamp-2", "lamp-3"].map(|name| json!({ "name": name, "publicKey": key() }));
    let body = json!({ "projectId": stack.project, "strategy": "alpha", "peers": lamps });
    data::<Value>(admin.post("/api/peers").json(&body).send().await?).await?;
    let many = "SELECT count(*) FROM nebula.create_peers(nebula.create_project('zoo'), ARRAY(
                    SELECT jsonb_build_object('name', format('sensor-%s', lpad(n::text, 3, '0')),
                                              'publicKey', encode(sha256(n::text::bytea), 'base64'))
                      FROM generate_series(1, 201) n), 'local')";
    stack.database.connect().await?.execute(many, &[]).await?;
    // Pictures for people, where the environment wants them.
    let pictures = std::env::var_os("NEBULA_PICTURES").map_or_else(|| stack.path("pictures"), PathBuf::from);
    fs::create_dir_all(&pictures)?;
    let mut browser = Command::new("npm");
    browser.arg("--prefix").arg(root().join("gateway/web")).args(["--silent", "run", "e2e", "--", "peers"]);
    browser.env("NEBULA_URL", stack.url()).env("NEBULA_USERNAME", ADMIN).env("NEBULA_PASSWORD", PASSWORD);
    run(browser.env("NEBULA_PICTURES", &pictures))?;
    let followed = followers.iter().all(|follower| !follower.is_finished());
    ensure!(followed, "a node has stopped following");
    // WireGuard takes the file, and the private key is nowhere but in it.
    let file = pictures.join("phone.conf");
    run(Command::new("wg-quick").arg("strip").arg(&file))?;
    let conf = fs::read_to_string(&file)?;
    let private =
        conf.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).context("no private key")?;
    ensure!(
        !fs::read_to_string(stack.log("gateway"))?.contains(private),
        "the gateway has seen a private key"
    );
    fs::remove_file(&file)?;
    followers.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}
