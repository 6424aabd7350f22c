//! A node takes the place of a WireGuard server, whose clients go on with the `.conf` that they have.

use std::fs;

use anyhow::{Context, Result, ensure};
use nebula_tests::binary::{built, run};
use nebula_tests::device::Device;
use nebula_tests::eventually;
use nebula_tests::netns::Network;
use nebula_tests::wireguard::{Client, KeyPair, Pings};

use super::fake_node::key;
use crate::agent::World;

fn server_conf(server: &KeyPair, phone: &KeyPair, preshared: &str) -> String {
    format!(
        "[Interface]\nPrivateKey = {}\nAddress = 10.8.0.1/24\nListenPort = 51820\n\n[Peer]\n# phone\nPublicKey = {}\n\
         PresharedKey = {preshared}\nAllowedIPs = 10.8.0.7/32\n",
        server.private, phone.public
    )
}

fn phone_conf(server: &KeyPair, phone: &KeyPair, preshared: &str) -> String {
    format!(
        "[Interface]\nPrivateKey = {}\nAddress = 10.8.0.7/32\n\n[Peer]\nPublicKey = {}\n\
         PresharedKey = {preshared}\nAllowedIPs = 10.8.0.0/24\n\
         Endpoint = {}:51820\nPersistentKeepalive = 25\n",
        phone.private,
        server.public,
        Network::address(1)
    )
}

/// The machine of the server becomes a node beside it, which leaves its interface alone.
fn become_node(world: &mut World, server: &Client) -> Result<()> {
    let endpoint = format!("{}:51820", Network::address(1));
    for arguments in [
        &["node", "register", "a", "--endpoint", &endpoint][..],
        &["node", "tie", "a", "--device", "a"],
        &["node", "interface", "set", "a", "wg0", "--cidr", "10.8.0.0/24"],
    ] {
        run(world.stack.ctl()?.args(arguments))?;
    }
    world.device("a").set_sockets(server.sockets());
    world.device("a").start()
}

/// `nebulactl node import-key` on the node.
fn import_key(node: &Device, conf: &str) -> Result<String> {
    let program = built("nebulactl")?;
    let mut command = node.inside(&program.to_string_lossy());
    run(command.args(["node", "import-key", conf, "--yes", "--dir"]).arg(&node.folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_server_go_on_while_a_node_takes_its_place() -> Result<()> {
    let mut world = World::joined_beside(&[("a", "lighthouse", 1)], 1).await?;
    let (server, phone, preshared) = (KeyPair::generate()?, KeyPair::generate()?, key());
    let conf = server_conf(&server, &phone, &preshared);
    let path = world.stack.path("wg0.conf");
    fs::write(&path, &conf)?;
    let path = path.to_string_lossy().into_owned();
    let home = world.stack.path("");
    let old = Client::up(&world.network.namespace(1), &home, "wg0", &conf)?;
    let client =
        Client::up(&world.network.namespace(2), &home, "phone", &phone_conf(&server, &phone, &preshared))?;
    eventually("the phone to reach the server", || async { Ok(client.pings("10.8.0.1").then_some(())) })
        .await?;

    become_node(&mut world, &old)?;
    let node = world.look("a");
    let database = world.stack.database.connect().await?;
    let count = async |what: &str, sql: &str| {
        let one = eventually(what, || async {
            Ok((database.query_one(sql, &[&server.public]).await?.get::<_, i64>(0) == 1).then_some(()))
        });
        one.await.with_context(|| node.logs())
    };
    count(
        "the agent to say that the interface is another program's",
        "SELECT count(*) FROM nebula.node_interface
          WHERE error LIKE '%belongs to something else%' AND encode(public_key, 'base64') <> $1",
    )
    .await?;
    let refused = import_key(node, &path).map(drop).unwrap_err().to_string();
    ensure!(refused.contains("phone is no peer of this node"), "{refused}");

    run(world.stack.ctl()?.args(["peer", "import", &path, "--strategy", "a", "--yes"]))?;
    let pings = Pings::start(client.inside("ping"), "10.8.0.1", "0.02")?;
    eventually("the peers to be known on the node", || async { Ok(import_key(node, &path).ok()) }).await?;
    count(
        "the agent to run the interface with the key of the server",
        "SELECT count(*) FROM nebula.node_interface
          WHERE error IS NULL AND acknowledged_generation = generation AND encode(public_key, 'base64') = $1",
    )
    .await?;
    count(
        "the phone to be seen as a peer",
        "SELECT count(*) FROM nebula.peer_status
          WHERE name = 'phone' AND '10.8.0.7' = ANY (addresses) AND handshake_at IS NOT NULL AND $1 <> ''",
    )
    .await?;
    let (sent, came) = pings.end()?;
    assert_eq!(sent, came, "{}", node.logs());
    Ok(())
}
