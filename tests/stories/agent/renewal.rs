//! A new certificate and a new key, while packets fly.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_costs_no_packet() -> Result<()> {
    let world =
        World::start(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 1), ("phone", "host", 0)]).await?;
    for (from, to) in [("laptop", "phone"), ("phone", "laptop")] {
        world.reaches(from, to).await?;
    }
    world.current(&["laptop", "phone"]).await?;
    let devices = ["laptop", "phone"].map(|name| world.look(name));
    let mut flights = Vec::new();
    for (from, to) in [(devices[0], devices[1]), (devices[1], devices[0])] {
        flights.push(flight::begin(from, to)?);
    }
    let counters = devices.map(Device::counter);
    // Two thirds of their life are over.
    let client = world.stack.database.connect().await?;
    client
        .batch_execute(
            "UPDATE nebula.certificate SET issued_at = issued_at - (not_after - issued_at) * 3;
             SELECT nebula.tell_agents(project_id, 0, device_id) FROM nebula.device",
        )
        .await?;
    for (device, counter) in devices.into_iter().zip(counters) {
        let what = format!("{} to run a new certificate", device.name);
        eventually(&what, || async {
            let sql = "SELECT count(*) FROM nebula.certificate
                        WHERE device_id = $1::text::uuid AND issued_at > now() - interval '1 hour'";
            let fresh: i64 = client.query_one(sql, &[&device.id]).await?.get(0);
            Ok((fresh > 0 && device.counter() > counter).then_some(()))
        })
        .await
        .with_context(|| device.logs())?;
    }
    // The new certificates are what peers see once they have shaken hands again.
    tokio::time::sleep(Duration::from_secs(5)).await;
    for flight in flights {
        let text = flight::land(flight)?;
        assert!(text.contains(" 0% packet loss"), "{text}");
    }
    Ok(())
}
