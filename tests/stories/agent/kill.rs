//! Agents killed at random moments, and unreachable gateways: the others continue.

use nebula_tests::device::LinkFilter;
use nebula_tests::rounds;
use rand::RngExt;
use tokio::time::sleep;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_resumes() -> Result<()> {
    let mut world =
        World::start(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 1), ("phone", "host", 0)]).await?;
    world.reaches("laptop", "phone").await?;
    let names = ["lighthouse", "laptop", "phone"];
    world.current(&names).await?;
    let client = world.stack.database.connect().await?;
    for round in 0..rounds(6, 60) {
        let before = world.look("laptop").counter();
        // A change that every device must apply; every third one also needs a new certificate.
        change(&client, world.stack.project, round).await?;
        for name in ["laptop", "phone"] {
            // A random moment between the answer to the long poll and the end of the reload.
            let moment = Duration::from_millis(rand::rng().random_range(0..400));
            sleep(moment).await;
            world.device(name).kill()?;
            world.device(name).start()?;
        }
        world.current(&names).await?;
        for name in ["laptop", "phone"] {
            let device = world.look(name);
            let what = format!("{name} to have one nebula");
            let settled = eventually(&what, || async { Ok((device.nebulas()?.len() == 1).then_some(())) });
            settled.await.with_context(|| device.logs())?;
        }
        let laptop = world.look("laptop");
        let newer = eventually("laptop to run a newer one", || async {
            Ok((laptop.counter() > before).then_some(()))
        });
        newer.await.with_context(|| laptop.logs())?;
        world.reaches("laptop", "phone").await?;
    }

    // While the gateway is unreachable the overlay works on; afterwards the agents apply the changes.
    world.link.set(LinkFilter::Cut);
    change(&client, world.stack.project, 0).await?;
    world.device("laptop").kill()?;
    world.device("laptop").start()?;
    world.reaches("phone", "laptop").await?;
    world.link.set(LinkFilter::Open);
    world.current(&names).await?;
    // The same holds for a gateway that is restarted.
    world.stack.stop_gateway()?;
    change(&client, world.stack.project, 0).await?;
    world.reaches("phone", "laptop").await?;
    world.stack.start_gateway().await?;
    world.current(&names).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_does_not_lock_the_agent_out() -> Result<()> {
    let mut world = World::start(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 1)]).await?;
    let names = ["lighthouse", "laptop"];
    world.current(&names).await?;
    let client = world.stack.database.connect().await?;
    for round in [0, 2] {
        world.link.set(LinkFilter::Lossy);
        change(&client, world.stack.project, round).await?;
        let laptop = world.look("laptop");
        let what = "the gateway to answer twice what never arrives";
        let sql = "SELECT count(*) FROM nebula.agent_answer WHERE device_id = $1::text::uuid";
        let lost = eventually(what, || async {
            let sent: i64 = client.query_one(sql, &[&laptop.id]).await?.get(0);
            Ok((sent >= 3).then_some(()))
        });
        lost.await.with_context(|| laptop.logs())?;
        // An agent that is killed at this point is not locked out either.
        world.device("laptop").kill()?;
        world.link.set(LinkFilter::Open);
        world.device("laptop").start()?;
        world.current(&names).await?;
        let kept: i64 = client.query_one(sql, &[&world.look("laptop").id]).await?.get(0);
        assert_eq!(kept, 1, "what is acknowledged replaces what was lost");
        world.reaches("laptop", "lighthouse").await?;
    }
    Ok(())
}

async fn change(client: &tokio_postgres::Client, project: uuid::Uuid, round: usize) -> Result<()> {
    // A device may have ten certificates an hour.
    if round % 3 == 2 && round < 24 {
        let groups = vec![format!("round-{round}")];
        client
            .execute("UPDATE nebula.device SET groups = $2 WHERE project_id = $1", &[&project, &groups])
            .await?;
    }
    client.execute("SELECT nebula.bump_configuration($1)", &[&project]).await?;
    Ok(())
}
