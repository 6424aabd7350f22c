//! All calls that change peers and nodes, at random in many sessions: none waits for another one that waits
//! for it, and nothing is held for what is gone.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::rounds;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_postgres::Client;
use uuid::Uuid;

const SESSIONS: u64 = 12;

/// SQLSTATEs of calls whose peer or node another session has changed, not of sessions in each other's way.
const EXPECTED: [&str; 5] = ["P0002", "55000", "53000", "23505", "55P03"];

/// Two nodes without agents, and two with: a call of public.report reports all that is wanted of a node as
/// applied.
const NODES: &str = "
    INSERT INTO nebula.device (device_id, project_id, name, curve, public_key)
    SELECT gen_random_uuid(), project_id, 'node' || n, '25519', sha256(n::text::bytea)
      FROM nebula.project CROSS JOIN generate_series(1, 4) n;
    SELECT nebula.register_node('node' || n, 'node.example:' || n, max_peers => 30) FROM generate_series(1, 4) n;
    SELECT nebula.tie_node(n.node_id, d.device_id)
      FROM nebula.node n JOIN nebula.device d USING (name) WHERE name IN ('node1', 'node2');
    CREATE FUNCTION public.report(node text) RETURNS void LANGUAGE sql AS $$
      SELECT nebula.sync_node(NULL, o.device_id, clock_timestamp(), jsonb_build_object(
               'epoch', nebula.node_epoch(), 'interfaces', (
               SELECT jsonb_agg(jsonb_build_object(
                        'interfaceId', i.interface_id, 'generation', i.generation, 'seen', (
                        SELECT coalesce(jsonb_agg(jsonb_build_object('peerId', p.peer_id, 'handshakeAt', now())), '[]')
                          FROM nebula.placement p WHERE p.interface_id = i.interface_id)))
                 FROM nebula.node_interface i WHERE i.node_id = o.node_id)))
        FROM nebula.node o WHERE o.name = node AND o.device_id IS NOT NULL
    $$;";

/// A call with random arguments.
fn call(project: Uuid, rng: &mut StdRng) -> String {
    let node = rng.random_range(1..=4);
    let known = format!("FROM nebula.node WHERE name = 'node{node}'");
    let peers =
        |count: u32| format!("ARRAY(SELECT peer_id FROM nebula.peer ORDER BY random() LIMIT {count})");
    let peer = format!("({}::uuid[])[1]", peers(1));
    let key = "encode(sha256(uuid_send(gen_random_uuid())), 'base64')";
    let named_node = format!("node:node{node}");
    let strategy = ["auto", "random", "auto", &named_node][rng.random_range(0..4)];
    let name = format!("'peer{}'", rng.random_range(0..200));
    match rng.random_range(0..100) {
        0..25 => format!("SELECT nebula.create_peer('{project}', NULL, {key}, '{strategy}', {name})"),
        25..38 => format!("SELECT nebula.move_peer({peer}, '{strategy}')"),
        38..46 => format!("SELECT nebula.remove_peer({peer})"),
        46..54 => {
            format!("SELECT nebula.update_peer({peer}, name => {name}, disabled => {})", rng.random::<bool>())
        }
        54..57 => format!("SELECT nebula.update_peer({peer}, expires_at => now() + interval '10 ms')"),
        57..60 => "SELECT nebula.maintain_peers()".to_owned(),
        60..63 => format!("SELECT nebula.cancel_move({peer})"),
        63..67 => format!("SELECT nebula.move_peers({}, '{strategy}')", peers(5)),
        67..70 => format!("SELECT nebula.remove_peers({})", peers(3)),
        70..73 => format!(
            "SELECT nebula.create_peers_by('{project}', ARRAY(SELECT jsonb_build_object('publicKey', {key})
               FROM generate_series(1, 4)), '{strategy}', 'infinity', 'mixture', NULL)"
        ),
        73..75 => format!("SELECT nebula.withdraw_peers({}, 'mixture')", peers(2)),
        75..77 => format!(
            "BEGIN; SELECT nebula.drain_node(node_id) {known};
             SELECT nebula.set_node_state(node_id, 'active') {known}; COMMIT"
        ),
        77..78 => format!("SELECT nebula.remove_node(node_id, {}) {known}", rng.random_ratio(1, 4)),
        78..80 => {
            format!("SELECT nebula.register_node('node{node}', 'node.example:{node}', max_peers => 30)")
        }
        80..82 => format!(
            "SELECT nebula.tie_node(n.node_id, d.device_id)
               FROM nebula.node n JOIN nebula.device d USING (name) WHERE name = 'node{node}'"
        ),
        82..83 => format!("SELECT nebula.tie_node(node_id, NULL) {known}"),
        83..85 => {
            format!("SELECT nebula.update_node(node_id, weight => {}) {known}", rng.random_range(1..200))
        }
        _ => format!("SELECT public.report('node{node}')"),
    }
}

async fn session(database: &Database, project: Uuid, seed: u64, calls: usize) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let client = database.connect().await?;
    for _ in 0..calls {
        let call = call(project, &mut rng);
        if let Err(error) = client.batch_execute(&call).await {
            let expected = error.code().is_some_and(|code| EXPECTED.contains(&code.code()));
            ensure!(expected, "{call}: {error:?}");
            client.batch_execute("ROLLBACK").await?;
        }
    }
    Ok(())
}

/// Seats, addresses and placements that are held without need.
async fn leaks(client: &Client) -> Result<Vec<String>> {
    let leaks = "SELECT concat_ws(' ', problem, detail) FROM nebula.check_pool()
                  UNION ALL
                 SELECT format('peer %s is leaving a node without an agent', p.peer_id)
                   FROM nebula.placement p JOIN nebula.node_interface i USING (interface_id)
                   JOIN nebula.node n USING (node_id) WHERE p.role = 'leaving' AND nebula.has_no_agent(n)";
    Ok(client.query(leaks, &[]).await?.iter().map(|row| row.get(0)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_calls_wait_for_each_other_and_nothing_is_held_for_what_is_gone() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let client = database.connect().await?;
    let project: Uuid = client.query_one("SELECT nebula.create_project('mixture')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.0.0.0/24')", &[&project]).await?;
    client.batch_execute(NODES).await?;
    let database = Arc::new(database);
    let sessions = (0..SESSIONS).map(|seed| {
        let database = Arc::clone(&database);
        tokio::spawn(async move { session(&database, project, seed, rounds(120, 5_000)).await })
    });
    for session in try_join_all(sessions.collect::<Vec<_>>()).await? {
        session?;
    }
    let found = leaks(&client).await?;
    ensure!(found.is_empty(), "{found:?}");

    client.batch_execute("SELECT nebula.remove_peers(ARRAY(SELECT peer_id FROM nebula.peer))").await?;
    // An untied node whose agent has run peers holds them until that agent confirms that they are gone.
    client
        .batch_execute(
            "SELECT nebula.tie_node(n.node_id, d.device_id)
               FROM nebula.node n JOIN nebula.device d USING (name);
             SELECT public.report(name) FROM nebula.node",
        )
        .await
        .context("the last reports")?;
    let left = "SELECT concat_ws(' ', (SELECT count(*) FROM nebula.peer), (SELECT sum(active_peers) FROM nebula.node),
                                 (SELECT count(*) FROM nebula.allocation))";
    let left: String = client.query_one(left, &[]).await?.get(0);
    ensure!(left == "0 0 0", "peers, seats and addresses that are left: {left}");
    let found = leaks(&client).await?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}
