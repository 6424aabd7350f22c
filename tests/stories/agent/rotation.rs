//! The certificate authority is replaced under running daemons of both releases without losing a packet.

use std::fs;

use super::ping_loss::Pings;
use super::*;

/// Creates an authority in the gateway's folder.
pub(super) fn authority(stack: &Stack, name: &str, curve: &str) -> Result<()> {
    let [cert, key] = ["crt", "key"].map(|kind| stack.path("authorities").join(format!("{name}.{kind}")));
    let mut create = stack.ctl()?;
    create.args(["ca", "create", "--name", name, "--curve", curve, "--cert"]).arg(cert).arg("--key").arg(key);
    run(&mut create).map(drop)
}

async fn state(world: &World) -> Result<(String, Vec<String>)> {
    let client = world.stack.database.connect().await?;
    let row = client
        .query_one("SELECT state, missing FROM nebula.rotation_status ORDER BY started_at DESC LIMIT 1", &[])
        .await?;
    Ok((row.get(0), row.get(1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_replaced_without_packet_loss() -> Result<()> {
    let mut world =
        World::start(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 1), ("phone", "host", 0)]).await?;
    for (from, to) in [("laptop", "phone"), ("phone", "laptop")] {
        world.reaches(from, to).await?;
    }
    let names = ["lighthouse", "laptop", "phone"];
    world.current(&names).await?;

    let flights = [("laptop", "phone"), ("phone", "laptop")]
        .map(|(from, to)| Pings::begin(world.look(from), world.look(to)).unwrap());
    authority(&world.stack, "next", "25519")?;
    let listed = run(world.stack.ctl()?.args(["ca", "ls"]))?;
    assert!(listed.contains("next") && listed.contains("story CA"), "{listed}");
    let told = run(world.stack.ctl()?.args(["ca", "rotate", "--yes", "--to", "next"]))?;
    assert!(told.contains("next has taken over from story CA"), "{told}");
    world.current(&names).await?;
    for flight in flights {
        assert_eq!(flight.lost().await?, [0; 0]);
    }
    // The running configuration of each device trusts only the new authority, and nebula-cert agrees.
    for name in names {
        let config = fs::read_to_string(world.look(name).folder.join("current/nebula.yml"))?;
        let blocks = config.matches("BEGIN NEBULA CERTIFICATE-").count();
        assert_eq!(blocks, 2, "one authority, one version 1 certificate: {config}");
    }
    let client = world.stack.database.connect().await?;
    let old =
        "SELECT count(*) FROM nebula.certificate c JOIN nebula.agent_answer w USING (device_id, public_key)
                JOIN nebula.authority a ON a.fingerprint = c.issuer WHERE a.name <> 'next'";
    assert_eq!(client.query_one(old, &[]).await?.get::<_, i64>(0), 0, "certificates of the old one in use");

    // The rotation waits for devices that are offline; it can be cancelled, or forced.
    assert_eq!(world.device("phone").stop()?, Some(0));
    authority(&world.stack, "third", "25519")?;
    let told = rotate(&world, &["--to", "third", "--no-wait"])?;
    assert!(told.contains("distributing") && told.contains("phone"), "{told}");
    eventually("the others to have gone on", || async {
        Ok((state(&world).await? == ("distributing".into(), vec!["phone".into()])).then_some(()))
    })
    .await?;
    let again = rotate(&world, &["--to", "third"]).unwrap_err().to_string();
    assert!(again.contains("is running"), "{again}");
    assert!(rotate(&world, &["--cancel"])?.contains("next signs as before"));
    assert!(rotate(&world, &["--cancel"]).is_err() && rotate(&world, &["--force"]).is_err());
    every_state_can_be_left(&world).await?;

    rotate(&world, &["--to", "third", "--no-wait"])?;
    let told = rotate(&world, &["--force", "--no-wait"])?;
    assert!(told.contains("reissuing"), "{told}");
    world.reaches("laptop", "lighthouse").await?;
    // The device comes back and gets the new configuration; the end of its last old certificate ends the
    // rotation.
    world.device("phone").start()?;
    eventually("the rotation to end", || async { Ok((state(&world).await?.0 == "done").then_some(())) })
        .await?;
    world.reaches("phone", "laptop").await?;
    Ok(())
}

/// Every state can be left: once the new authority signs, by the way back, which can be left in turn.
async fn every_state_can_be_left(world: &World) -> Result<()> {
    for (step, told, then) in [
        (vec!["--to", "third"], "next signs, devices learn to trust third", "distributing"),
        (vec!["--force"], "third signs, devices get new certificates", "reissuing"),
        // The phone has no certificate of the third one to give up, so nobody is waited for.
        (vec!["--cancel"], "next signs, devices", "retiring"),
        (vec!["--cancel"], "next signs, devices learn to trust third", "distributing"),
        (vec!["--cancel"], "next signs as before", "cancelled"),
    ] {
        let said = rotate(world, &[&step[..], &["--no-wait"]].concat())?;
        assert!(said.contains(told), "{step:?}: {said}");
        world.current(&["lighthouse", "laptop"]).await?;
        world.reaches("laptop", "lighthouse").await?;
        eventually(&format!("{step:?} to come to {then}"), || async {
            Ok((state(world).await?.0 == then).then_some(()))
        })
        .await?;
    }
    Ok(())
}

fn rotate(world: &World, arguments: &[&str]) -> Result<String> {
    run(world.stack.ctl()?.args(["ca", "rotate", "--yes"]).args(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsuitable_successor_authority_is_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let rotate = |to: &str| run(stack.ctl()?.args(["ca", "rotate", "--yes", "--to", to]));
    // A project without devices switches to the given authority at once.
    authority(&stack, "own", "25519")?;
    assert!(rotate("own").unwrap().contains("done"));
    authority(&stack, "other curve", "P256")?;
    // One whose limits a device would break, which is named; and one without room for the addresses to come.
    let client = stack.database.connect().await?;
    let limited = |name: &str, network: &str| {
        let [cert, key] = ["crt", "key"].map(|kind| stack.path("authorities").join(format!("{name}.{kind}")));
        let mut create = stack.ctl()?;
        create.args(["ca", "create", "--name", name, "--network", network, "--cert"]).arg(cert);
        run(create.arg("--key").arg(key)).map(drop)
    };
    limited("elsewhere", "10.77.0.0/24")?;
    limited("part", "10.99.0.0/24")?;
    for other in ["elsewhere", "part"] {
        let refused = rotate(other).unwrap_err().to_string();
        assert!(refused.contains("a device of pool \"default\""), "{refused}");
    }
    let device = "INSERT INTO nebula.device (device_id, project_id, name, curve, public_key)
                  SELECT gen_random_uuid(), $1, n, '25519', sha256(n::bytea) FROM unnest('{nas,tv}'::text[]) n
                  RETURNING nebula.allocate_ip(project_id, device_id)";
    client.execute(device, &[&stack.project]).await?;
    let refused = rotate("elsewhere").unwrap_err().to_string();
    assert!(refused.contains("device \"nas\"") && refused.contains("10.99.0.0/16"), "{refused}");
    for (to, problem) in [
        ("own", "signs for the project already"),
        ("other curve", "on curve P256"),
        ("nobody", "no authority"),
    ] {
        let refused = rotate(to).unwrap_err().to_string();
        assert!(refused.contains(problem), "{refused}");
    }
    let member = stack.member("anna").await?;
    for path in ["/api/authorities", "/api/rotations"] {
        assert_eq!(member.get(path).send().await?.status(), 403, "{path}");
    }
    Ok(())
}
