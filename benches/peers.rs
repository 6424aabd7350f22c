//! Choosing a node among few and among many, and creating peers, beside the floor and the textbook way: score
//! all nodes in a query, lock the best, count it up, and take the lowest free address.

use anyhow::{Context, Result};
use nebula_tests::cluster::Database;
use tokio_postgres::Client;

use crate::cpu;
use crate::harness::Harness;
use crate::load::{Load, Run, pgbench};

/// Nodes of the table of created peers.
const NODES: i32 = 100;

const LOADS: [Load; 3] = [
    Load { clients: 1, durable: true },
    Load { clients: 32, durable: true },
    Load { clients: 32, durable: false },
];

const CREATE: &str = "SELECT node_id FROM nebula.create_peer('00000000-0000-4000-8000-000000000001', NULL,
    encode(sha256(uuid_send(gen_random_uuid())), 'base64'));";

/// As balanced nodes are.
const EQUAL: &str = "UPDATE nebula.node SET active_peers = 500";
const RANDOM: &str = "UPDATE nebula.node SET active_peers = random() * 30000";

const SELECT: &str = "SELECT nebula.select_node();";

const TEXTBOOK_SCHEMA: &str = "
    CREATE TABLE node (
      node_id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      active_peers  integer NOT NULL DEFAULT 0,
      max_peers     integer NOT NULL DEFAULT 1000000,
      weight        integer NOT NULL DEFAULT 100
    );
    CREATE TABLE address (node_id integer NOT NULL, ip inet NOT NULL, peer_id uuid, PRIMARY KEY (node_id, ip));
    CREATE INDEX ON address (node_id, ip) WHERE peer_id IS NULL;
    CREATE TABLE peer (peer_id uuid PRIMARY KEY, node_id integer NOT NULL, ip inet NOT NULL, public_key text NOT NULL);
    CREATE FUNCTION create_peer(public_key text) RETURNS uuid LANGUAGE plpgsql AS $$
    DECLARE
      v_node integer;
      v_ip   inet;
      v_peer uuid := gen_random_uuid();
    BEGIN
      SELECT n.node_id INTO v_node FROM node n WHERE n.active_peers < n.max_peers
       ORDER BY (n.active_peers::float / n.max_peers) / n.weight, n.node_id LIMIT 1 FOR UPDATE;
      UPDATE node n SET active_peers = n.active_peers + 1 WHERE n.node_id = v_node;
      SELECT a.ip INTO v_ip FROM address a WHERE a.node_id = v_node AND a.peer_id IS NULL
       ORDER BY a.ip LIMIT 1 FOR UPDATE;
      UPDATE address a SET peer_id = v_peer WHERE a.node_id = v_node AND a.ip = v_ip;
      INSERT INTO peer VALUES (v_peer, v_node, v_ip, create_peer.public_key);
      RETURN v_peer;
    END $$;
    INSERT INTO node (weight) SELECT 100 FROM generate_series(1, 100);
    INSERT INTO address SELECT n, '10.0.0.0'::inet + (n * 65536 + a), NULL
      FROM generate_series(1, 100) n, generate_series(1, 5000) a;
    ANALYZE";

const TEXTBOOK: &str = "SELECT create_peer(encode(sha256(uuid_send(gen_random_uuid())), 'base64'));";

/// Runs a script; answers the run, and the microseconds of processor time that the server spent on each transaction.
fn cost(harness: &Harness, database: &Database, script: &str, load: Load) -> Result<(Run, f64)> {
    let before = cpu::server(&harness.cluster)?;
    let run = pgbench(&harness.cluster, database, script, load, harness.settings.seconds)?;
    let spent = cpu::server(&harness.cluster)? - before;
    let each = spent * 1e6 / run.transactions;
    Ok((run, each))
}

/// Gives a database a project and so many nodes.
async fn register_nodes(client: &Client, nodes: i32) -> Result<()> {
    client
        .batch_execute(
            "INSERT INTO nebula.project (project_id, name)
             VALUES ('00000000-0000-4000-8000-000000000001', 'bench');
             SELECT nebula.populate_pool('00000000-0000-4000-8000-000000000001', '10.0.0.0/24')",
        )
        .await?;
    let register = "SELECT nebula.register_node('node' || n, 'node.example:51820', max_peers => 60000)
                      FROM generate_series(1, $1) n";
    client.execute(register, &[&nodes]).await?;
    // The first round of the background worker prepares the index for so many nodes.
    client.batch_execute("SELECT nebula.maintain_peers()").await?;
    client.batch_execute("VACUUM ANALYZE nebula.node").await?;
    Ok(())
}

/// Prints the tables.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    println!("\n## select_node\n\n| | 10 nodes | 10 000 nodes | ratio |\n|---|---|---|---|");
    for (what, fill) in [("empty", ""), ("equal", EQUAL), ("random", RANDOM)] {
        let mut costs = Vec::new();
        for nodes in [10, 10_000] {
            let database = harness.cluster.database().await?;
            let client = database.connect().await?;
            register_nodes(&client, nodes).await?;
            client.batch_execute(fill).await?;
            client.batch_execute("VACUUM FULL ANALYZE nebula.node").await?;
            costs.push(cost(harness, &database, SELECT, Load { clients: 1, durable: false })?.1);
        }
        let (few, many) = (costs.first().context("two costs")?, costs.last().context("two costs")?);
        println!("| nodes with {what} seats | {few:.0} µs | {many:.0} µs | {:.2} |", many / few);
    }

    println!("\n## create_peer over {NODES} nodes, and processor time of the server for each\n");
    println!("| | {} |\n|---|---|---|---|", LOADS.map(|load| load.to_string()).join(" | "));
    let (peers, client) = harness.served_database().await?;
    register_nodes(&client, NODES).await?;
    // Every interface makes its pools with its first peer.
    client.batch_execute(&CREATE.repeat(200)).await?;
    let textbook = harness.cluster.database().await?;
    textbook.connect().await?.batch_execute(TEXTBOOK_SCHEMA).await?;
    for (name, database, script) in [("create_peer", &peers, CREATE), ("textbook", &textbook, TEXTBOOK)] {
        let mut cells = Vec::new();
        for load in LOADS {
            let mut each = 0.0;
            let cell = harness.beside_floor(load, || {
                let (run, cost) = cost(harness, database, script, load)?;
                each = cost;
                Ok(run)
            })?;
            cells.push(format!("{cell}, {each:.0} µs"));
        }
        println!("| {name} | {} |", cells.join(" | "));
    }
    Ok(())
}
