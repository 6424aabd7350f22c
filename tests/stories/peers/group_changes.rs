//! Agents of nodes are woken when a device changes that a firewall rule names, by itself or by its groups.

use anyhow::Result;
use nebula_tests::cluster::Cluster;
use nebula_tests::listener::Listener;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_device_that_a_rule_names_wakes_the_nodes_of_its_project() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let client = database.connect().await?;
    let project: Uuid =
        client.query_one("SELECT nebula.create_project('story', '10.99.0.0/16')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.99.0.0/24')", &[&project]).await?;
    let mut ids = Vec::new();
    for name in ["node", "member", "named", "stranger"] {
        let sql = "INSERT INTO nebula.device (device_id, project_id, name, curve, public_key)
                   VALUES (gen_random_uuid(), $1, $2, '25519', sha256(uuid_send(gen_random_uuid())))
                   RETURNING device_id";
        let device: Uuid = client.query_one(sql, &[&project, &name]).await?.get(0);
        client.execute("SELECT nebula.allocate_ip($1, $2)", &[&project, &device]).await?;
        ids.push(device);
    }
    let node: Uuid =
        client.query_one("SELECT nebula.register_node('n', 'n.example:51820')", &[]).await?.get(0);
    client.execute("SELECT nebula.tie_node($1, $2)", &[&node, &ids[0]]).await?;
    let rules = "INSERT INTO nebula.firewall_rule (project_id, direction, remote_groups, for_device)
                 VALUES ($1, 'inbound', '{office}', NULL), ($1, 'inbound', '{}', $2)";
    client.execute(rules, &[&project, &ids[2]]).await?;

    let mut listener = Listener::new(&database, "nebula_node").await?;
    let set = |groups: &str| format!("SELECT nebula.set_device_groups($1, '{{{groups}}}')");
    let allocate = "SELECT nebula.allocate_ip(project_id, device_id) FROM nebula.device WHERE device_id = $1";
    let bulk = "SELECT count(*) FROM nebula.device d, nebula.allocate_ips(d.project_id, ARRAY[d.device_id])
                 WHERE d.device_id = $1";
    let release = "SELECT nebula.release_ip($1)";
    let revoke = "SELECT nebula.revoke_device($1)";
    let [member, named, stranger] = [ids[1], ids[2], ids[3]];
    for (device, sql, wakes) in [
        (member, set("kitchen").as_str(), false),
        (member, set("kitchen,office").as_str(), true),
        (member, release, true),
        (member, allocate, true),
        (member, allocate, false),
        (member, release, true),
        (member, bulk, true),
        (member, set("kitchen").as_str(), true),
        (member, release, false),
        (member, allocate, false),
        (named, release, true),
        (named, allocate, true),
        (named, revoke, true),
        (stranger, release, false),
        (stranger, allocate, false),
        (stranger, set("garden").as_str(), false),
    ] {
        client.execute(sql, &[&device]).await?;
        let woken = listener.rest().await?;
        assert_eq!(woken.contains(&node.to_string()), wakes, "{sql}: {woken:?}");
    }
    Ok(())
}
