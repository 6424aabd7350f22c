//! A certificate and its key are replaced while packets are in flight.

use chrono::{DateTime, Utc};

use super::ping_loss::Pings;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_loses_no_packet() -> Result<()> {
    let world =
        World::start(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 1), ("phone", "host", 0)]).await?;
    for (from, to) in [("laptop", "phone"), ("phone", "laptop")] {
        world.reaches(from, to).await?;
    }
    world.current(&["laptop", "phone"]).await?;
    let devices = ["laptop", "phone"].map(|name| world.look(name));
    let [laptop, phone] = devices;
    let flights = [Pings::begin(laptop, phone)?, Pings::begin(phone, laptop)?];
    let counters = devices.map(Device::counter);
    let begun = Utc::now();
    // Two thirds of the certificates' lifetime have passed, so they are due for renewal.
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
    // Peers see the new certificates after their next handshake.
    let again = eventually("them to shake hands again", || async {
        let again = |device, peer| shaken_at(device, peer).is_some_and(|at| at > begun);
        Ok((again(laptop, phone) && again(phone, laptop)).then_some(()))
    });
    again.await.with_context(|| devices.map(Device::logs).concat())?;
    for flight in flights {
        assert_eq!(flight.lost().await?, [0; 0]);
    }
    Ok(())
}

/// Time of the last handshake of a device with another one.
fn shaken_at(device: &Device, peer: &Device) -> Option<DateTime<Utc>> {
    let status = device.status();
    let peers = status["peers"].as_array()?;
    let known = peers.iter().find(|known| known["name"] == peer.name.as_str())?;
    known["handshakeAt"].as_str()?.parse().ok()
}
