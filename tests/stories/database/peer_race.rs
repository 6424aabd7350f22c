//! Peers and nodes, changed by many sessions at once.

mod mixture;

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::session::{pid, until_blocked};
use tokio::sync::Barrier;
use tokio_postgres::Client;
use uuid::Uuid;

const SESSIONS: usize = 64;
const EACH: usize = 6;

/// A project, and nodes for so many peers each.
async fn nodes(database: &Database, nodes: i32, max_peers: i32) -> Result<(Client, Uuid)> {
    let client = database.connect().await?;
    let project: Uuid = client.query_one("SELECT nebula.create_project('race')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.0.0.0/24')", &[&project]).await?;
    let register = "SELECT nebula.register_node('node' || n, 'node.example:' || n, max_peers => $2)
                      FROM generate_series(1, $1) n";
    client.execute(register, &[&nodes, &max_peers]).await?;
    Ok((client, project))
}

/// Creates peers in all sessions at once; how many of them no node had room for.
async fn create(database: &Database, project: Uuid) -> Result<usize> {
    let start = Arc::new(Barrier::new(SESSIONS));
    let sessions = (0..SESSIONS).map(|_| {
        let (start, database) = (Arc::clone(&start), database.clone());
        async move {
            let client = database.connect().await?;
            start.wait().await;
            let mut refused = 0;
            for _ in 0..EACH {
                let create = "SELECT nebula.create_peer($1, NULL, encode(sha256(uuid_send($2)), 'base64'))";
                match client.execute(create, &[&project, &Uuid::new_v4()]).await {
                    Ok(_) => {}
                    Err(error) if error.code().is_some_and(|code| code.code() == "53000") => refused += 1,
                    Err(error) => return Err(error.into()),
                }
            }
            anyhow::Ok(refused)
        }
    });
    Ok(try_join_all(sessions).await?.into_iter().sum())
}

/// Fewest and most peers of a node.
async fn spread(client: &Client) -> Result<(i32, i32)> {
    let row = client.query_one("SELECT min(active_peers), max(active_peers) FROM nebula.node", &[]).await?;
    let wrong = client.query("SELECT problem, detail FROM nebula.check_pool()", &[]).await?;
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok((row.get(0), row.get(1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_are_created_at_once_spread_evenly_over_the_nodes() -> Result<()> {
    for cluster in Cluster::both().await? {
        let database = cluster.database().await?;
        let (client, project) = nodes(&database, 7, 100).await?;
        ensure!(create(&database, project).await? == 0, "there is room for all");
        let (fewest, most) = spread(&client).await?;
        ensure!(most - fewest <= 2, "{fewest} to {most} peers on a node");
    }
    Ok(())
}

/// A session whose statement is older than the seats that others have taken meanwhile, on nodes of the project itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_seat_is_taken_by_what_nodes_host_now_not_when_the_statement_began() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let (client, project) = nodes(&database, 2, 100).await?;
    client.execute("UPDATE nebula.node SET project_id = $1", &[&project]).await?;
    // The seats are taken after the snapshot of the last statement, as by a batch of another session.
    client
        .batch_execute(
            "CREATE FUNCTION pg_temp.others() RETURNS integer LANGUAGE sql AS
               'UPDATE nebula.node SET active_peers = active_peers + 5 RETURNING 0';
             SET statement_timeout = '10s'",
        )
        .await?;
    let claim = "SELECT c.seats FROM (SELECT pg_temp.others() AS none OFFSET 0) o
                  CROSS JOIN LATERAL nebula.claim_seats($1, 'auto', 1 + o.none, '{}') c";
    let seats: i32 = client.query_one(claim, &[&project]).await?.get(0);
    ensure!(seats == 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_gets_more_peers_than_it_may_have() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let (client, project) = nodes(&database, 5, 60).await?;
    ensure!(create(&database, project).await? == SESSIONS * EACH - 300, "all seats are taken, and no more");
    ensure!(spread(&client).await? == (60, 60));
    Ok(())
}

/// Runs `first` in a transaction that commits when `second`, in another session, waits for it.
async fn one_behind_the_other(database: &Database, first: &str, second: &str) -> Result<()> {
    let (earlier, later, watcher) =
        (database.connect().await?, database.connect().await?, database.connect().await?);
    let pid = pid(&later).await?;
    earlier.batch_execute("BEGIN").await?;
    earlier.batch_execute(first).await.with_context(|| first.to_owned())?;
    let commit = async {
        until_blocked(&watcher, pid).await?;
        anyhow::Ok(earlier.batch_execute("COMMIT").await?)
    };
    let (changed, committed) = tokio::join!(later.batch_execute(second), commit);
    committed?;
    changed.with_context(|| second.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_changes_of_one_peer_or_node_are_both_kept() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let (client, project) = nodes(&database, 1, 10).await?;
    client
        .execute(
            "SELECT nebula.create_peer($1, NULL, encode(sha256('a'), 'base64'), name => 'a')",
            &[&project],
        )
        .await?;
    let update = |values: &str| format!("SELECT nebula.update_peer(peer_id, {values}) FROM nebula.peer");
    one_behind_the_other(&database, &update("disabled => true"), &update("name => 'b'")).await?;
    let peer = "SELECT concat_ws(' ', e.name, p.wanted, e.disabled_at IS NOT NULL)
                  FROM nebula.peer e JOIN nebula.placement p USING (peer_id)";
    let peer: String = client.query_one(peer, &[]).await?.get(0);
    ensure!(peer == "b blocked t", "{peer}");

    let update = |values: &str| format!("SELECT nebula.update_node(node_id, {values}) FROM nebula.node");
    let first = update("name => 'renamed', max_peers => 50");
    one_behind_the_other(&database, &first, &update("weight => 200")).await?;
    let node = "SELECT concat_ws(' ', name, max_peers, weight) FROM nebula.node";
    let node: String = client.query_one(node, &[]).await?.get(0);
    ensure!(node == "renamed 50 200", "{node}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_peers_that_take_a_name_at_once_the_second_is_told_so() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let (client, project) = nodes(&database, 2, 10).await?;
    for name in ["a", "b"] {
        let create = "SELECT nebula.create_peer($1, NULL, encode(sha256($2::text::bytea), 'base64'),
                                                'node:node' || CASE $2 WHEN 'a' THEN 1 ELSE 2 END, $2)";
        client.execute(create, &[&project, &name]).await?;
    }
    let rename = |name: &str| {
        format!("SELECT nebula.update_peer(peer_id, name => 'c') FROM nebula.peer WHERE name = '{name}'")
    };
    let refused = one_behind_the_other(&database, &rename("a"), &rename("b")).await;
    let refused = refused.err().context("two peers have one name")?;
    let refused = refused.downcast::<tokio_postgres::Error>()?;
    let refused = refused.as_db_error().context("an error of the database")?;
    ensure!(
        refused.code().code() == "23505" && refused.hint() == Some("Choose another name."),
        "{refused:?}"
    );
    Ok(())
}
