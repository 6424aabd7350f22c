//! Nodes and peers under random operations of several sessions, some of which are cut off, with agents that
//! lose answers and acknowledgements: no address is on two interfaces for different peers, seats are the
//! placements, and at the end the interfaces have what is wanted, and nothing is held for what is gone.
//!
//! `NEBULA_SEED` repeats a seed; sessions run at the same time, so another run of it may differ.

mod agent;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::rounds;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;
use uuid::Uuid;

use agent::Agent;

const SESSIONS: u64 = 6;
const OPERATIONS: usize = 40;

/// For each address, the peer that interfaces have it for, and how many of them.
type Addresses = Arc<Mutex<HashMap<String, (Uuid, usize)>>>;

/// SQLSTATEs that an operation may end with, because its peer or node has changed meanwhile. A deadlock is
/// none of them.
const EXPECTED: [&str; 7] = ["P0002", "55000", "53000", "23505", "57P01", "55P03", "40001"];

/// Registers nodes that were removed.
const REGISTER: &str = "SELECT nebula.register_node(d.name, 'x:1', max_peers => 20) FROM nebula.device d
                         WHERE NOT EXISTS (SELECT FROM nebula.node n WHERE n.name = d.name)";

/// Ties devices to their nodes.
const TIE: &str = "SELECT nebula.tie_node(n.node_id, d.device_id)
                     FROM nebula.node n JOIN nebula.device d USING (name)
                    WHERE n.device_id IS NULL";

struct World {
    database: Database,
    project: Uuid,
    addresses: Addresses,
}

impl World {
    async fn new() -> Result<Self> {
        let database = Cluster::shared().await?.database().await?;
        let client = database.connect().await?;
        let project: Uuid = client.query_one("SELECT nebula.create_project('model')", &[]).await?.get(0);
        client.execute("SELECT nebula.populate_pool($1, '10.0.0.0/24')", &[&project]).await?;
        client
            .batch_execute(&format!(
                "INSERT INTO nebula.device (device_id, project_id, name, curve, public_key)
                 SELECT gen_random_uuid(), '{project}', 'device' || n, '25519', sha256(n::text::bytea)
                   FROM generate_series(1, 3) n;
                 SELECT nebula.allocate_ip('{project}', device_id) FROM nebula.device;
                 SELECT nebula.tie_node(nebula.register_node(name, name || ':51820', max_peers => 20), device_id)
                   FROM nebula.device;
                 SELECT nebula.register_node('without-agent', 'x:1', max_peers => 20, weight => 1);
                 INSERT INTO nebula.device (device_id, project_id, name, curve, public_key)
                 VALUES (gen_random_uuid(), '{project}', 'without-agent', '25519', sha256('without-agent'))"
            ))
            .await?;
        Ok(Self { database, project, addresses: Addresses::default() })
    }

    async fn agents(&self) -> Result<Vec<Agent>> {
        let client = self.database.connect().await?;
        let devices =
            client.query("SELECT device_id FROM nebula.device WHERE name <> 'without-agent'", &[]).await?;
        let mut agents = Vec::new();
        for row in devices {
            agents.push(Agent::new(self.database.connect().await?, row.get(0), Arc::clone(&self.addresses)));
        }
        Ok(agents)
    }

    /// Random operations of one session; a part of them in transactions that are cut off.
    async fn session(&self, seed: u64) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut client = self.database.connect().await?;
        for _ in 0..OPERATIONS {
            let operation = self.operation(&client, &mut rng).await?;
            if rng.random_ratio(1, 8) {
                client.batch_execute("BEGIN").await?;
                expected(client.batch_execute(&operation).await, &operation)?;
                // The server rolls back when it notices.
                drop(std::mem::replace(&mut client, self.database.connect().await?));
            } else {
                expected(client.batch_execute(&operation).await, &operation)?;
            }
        }
        Ok(())
    }

    async fn operation(&self, client: &Client, rng: &mut StdRng) -> Result<String> {
        let any = "SELECT peer_id FROM nebula.peer ORDER BY md5(peer_id::text || $1) LIMIT 1";
        let peer = client.query_opt(any, &[&rng.random::<u32>().to_string()]).await?;
        let peer = peer.map_or_else(Uuid::nil, |row| row.get(0));
        let project = self.project;
        let key = "encode(sha256(uuid_send(gen_random_uuid())), 'base64')";
        let peers =
            format!("ARRAY(SELECT peer_id FROM nebula.peer ORDER BY md5(peer_id::text || '{peer}') LIMIT 4)");
        let node =
            format!("FROM nebula.node ORDER BY md5(node_id::text || '{}') LIMIT 1", rng.random::<u32>());
        Ok(match rng.random_range(0..22) {
            0..=3 => format!("SELECT nebula.create_peer('{project}', NULL, {key})"),
            4 => format!(
                "SELECT nebula.create_peers_by('{project}', ARRAY(SELECT jsonb_build_object('publicKey', {key})
                   FROM generate_series(1, 5)), 'auto', 'infinity', 'model', NULL)"
            ),
            5 => format!("SELECT nebula.update_peer('{peer}', disabled => {})", rng.random::<bool>()),
            6 => format!("SELECT nebula.move_peer('{peer}')"),
            7 => format!("SELECT nebula.cancel_move('{peer}')"),
            8 => format!("SELECT nebula.withdraw_peers(ARRAY['{peer}'::uuid], 'model')"),
            // Each is one call, or one row: a transaction of several would not lock in the order of all calls.
            9 => {
                format!("UPDATE nebula.peer SET expires_at = now() - interval '1 s' WHERE peer_id = '{peer}'")
            }
            10 => "SELECT nebula.maintain_peers()".to_owned(),
            11 => format!("SELECT nebula.move_peers({peers})"),
            // Not in a list of columns: there LIMIT counts its results, so that one that moves nothing is followed by
            // another, and two transactions that drain several nodes can wait for each other.
            12 => format!("SELECT * FROM nebula.drain_node((SELECT node_id {node}))"),
            13 => format!("SELECT nebula.set_node_state(node_id, 'active') {node}"),
            // Its agent goes on with what it was told last.
            14 => format!("SELECT nebula.tie_node(node_id, NULL) {node}"),
            15 => format!("{REGISTER} LIMIT 1"),
            16 => format!("{TIE} ORDER BY random() LIMIT 1"),
            // Only one that hosts nothing: forced, it would have to be switched off.
            17 => format!("SELECT nebula.remove_node(node_id) {node}"),
            18 => format!("SELECT nebula.update_peer('{peer}', name => 'peer {}')", rng.random_range(0..9)),
            _ => format!("SELECT nebula.remove_peer('{peer}')"),
        })
    }
}

/// Lets errors pass that concurrent sessions may cause.
fn expected<T>(result: Result<T, tokio_postgres::Error>, operation: &str) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.code().is_some_and(|code| EXPECTED.contains(&code.code())) => Ok(()),
        Err(error) => Err(error).context(operation.to_owned()),
    }
}

/// Nothing differs, and every interface has what is wanted.
async fn check(client: &Client, agents: &[Agent]) -> Result<()> {
    let wrong = client.query("SELECT problem || ': ' || detail FROM nebula.check_pool()", &[]).await?;
    let wrong: Vec<String> = wrong.iter().map(|row| row.get(0)).collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    let held = "SELECT count(*) FROM nebula.placement p JOIN nebula.node_interface i USING (interface_id)
                  JOIN nebula.node n USING (node_id) WHERE p.role = 'leaving' AND nebula.has_no_agent(n)";
    let held: i64 = client.query_one(held, &[]).await?.get(0);
    ensure!(held == 0, "{held} peers leave a node without an agent, which nobody confirms");
    for agent in agents {
        let wanted =
            "SELECT p.peer_id FROM nebula.placement p JOIN nebula.node_interface i USING (interface_id)
                        JOIN nebula.node n USING (node_id) WHERE n.device_id = $1 AND p.wanted = 'present'";
        let mut wanted: Vec<Uuid> =
            client.query(wanted, &[&agent.device]).await?.iter().map(|row| row.get(0)).collect();
        wanted.sort();
        ensure!(agent.peers() == wanted, "an interface has {:?} instead of {wanted:?}", agent.peers());
    }
    Ok(())
}

async fn play(seed: u64) -> Result<()> {
    let world = Arc::new(World::new().await?);
    let sessions = (0..SESSIONS).map(|number| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.session(seed * SESSIONS + number).await })
    });
    let agents =
        world.agents().await?.into_iter().enumerate().map(|(number, agent)| {
            tokio::spawn(agent.run(StdRng::seed_from_u64(seed * 1_000 + number as u64)))
        });
    let (agents, sessions): (Vec<_>, Vec<_>) = (agents.collect(), sessions.collect());
    for session in try_join_all(sessions).await? {
        session?;
    }
    let mut agents = try_join_all(agents).await?.into_iter().collect::<Result<Vec<_>>>()?;
    let client = world.database.connect().await?;
    client.batch_execute(&format!("{REGISTER}; {TIE}")).await?;
    let untie = "SELECT nebula.tie_node(node_id, NULL) FROM nebula.node WHERE name = 'without-agent'";
    client.execute(untie, &[]).await?;
    agent::settle(&mut agents).await?;
    check(&client, &agents).await?;
    client.execute("SELECT nebula.remove_peers(ARRAY(SELECT peer_id FROM nebula.peer))", &[]).await?;
    agent::settle(&mut agents).await?;
    check(&client, &agents).await?;
    let left = "SELECT (SELECT count(*) FROM nebula.peer), (SELECT sum(active_peers) FROM nebula.node),
                       (SELECT count(*) FROM nebula.allocation)";
    let left = client.query_one(left, &[]).await?;
    let left: (i64, i64, i64) = (left.get(0), left.get(1), left.get(2));
    ensure!(left == (0, 0, 3), "peers, seats and addresses that are left: {left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_out_twice_or_lost() -> Result<()> {
    let seeds = match std::env::var("NEBULA_SEED") {
        Ok(seed) => vec![seed.parse().context("NEBULA_SEED is no number")?],
        Err(_) => (0..rounds(2, 200) as u64).collect(),
    };
    for seed in seeds {
        play(seed).await.with_context(|| format!("NEBULA_SEED={seed}"))?;
    }
    Ok(())
}
