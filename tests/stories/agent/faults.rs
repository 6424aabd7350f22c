//! Faults: configurations that nebula refuses, expired certificates, lost answers, a gateway restored from a
//! backup.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nebula_tests::device::LinkFilter;
use nebula_tests::stack::ADMIN;

use super::*;

/// A wrapper around nebula whose configuration test fails while a certain file exists.
fn picky(stack: &Stack, nebula: &Nebula) -> Result<Nebula> {
    let (program, fault) = (stack.path("picky-nebula"), stack.path("fault"));
    let text = format!(
        "#!/bin/sh\n\
         [ \"$1\" != -test ] || [ ! -e {} ] || {{ echo 'level=error msg=\"not to my taste\"'; exit 1; }}\n\
         exec {} \"$@\"\n",
        fault.display(),
        nebula.daemon.display()
    );
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(Nebula { daemon: program, ..nebula.clone() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_nebula_refuses_is_reported_and_the_old_one_runs_on() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1)]).await?;
    world.releases[0] = picky(&world.stack, &world.releases[0])?;
    world.join("phone", "host", 0).await?;
    for device in &mut world.devices {
        device.start()?;
    }
    world.reaches("phone", "lighthouse").await?;
    world.current(&["lighthouse", "phone"]).await?;
    let phone = world.look("phone");
    let counter = eventually("the agent to say what it runs", || async { Ok(phone.counter()) }).await?;
    let processes = phone.nebulas()?;

    let client = world.stack.database.connect().await?;
    fs::write(world.stack.path("fault"), "")?;
    client.execute("SELECT nebula.bump_configuration($1)", &[&world.stack.project]).await?;
    let refused = eventually("the gateway to know of the refusal", || async {
        let row = client
            .query_one(
                "SELECT refused_reason FROM nebula.agent WHERE device_id = $1::text::uuid",
                &[&phone.id],
            )
            .await?;
        Ok(row.get::<_, Option<String>>(0))
    });
    assert!(refused.await.with_context(|| phone.logs())?.contains("not to my taste"));
    assert_eq!((phone.counter(), phone.nebulas()?), (Some(counter), processes), "what ran goes on running");
    world.reaches("phone", "lighthouse").await?;

    // This holds over a restart of the agent; the next configuration is tried again.
    world.device("phone").kill()?;
    world.device("phone").start()?;
    fs::remove_file(world.stack.path("fault"))?;
    client.execute("SELECT nebula.bump_configuration($1)", &[&world.stack.project]).await?;
    world.current(&["lighthouse", "phone"]).await?;
    world.reaches("phone", "lighthouse").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_an_expired_certificate_reconnects() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1)]).await?;
    world.device("lighthouse").start()?;
    let client = world.stack.database.connect().await?;
    let lifetime =
        "UPDATE nebula.project SET certificate_lifetime = $2::text::interval WHERE project_id = $1";
    client.execute(lifetime, &[&world.stack.project, &"1 minute"]).await?;
    world.join("laptop", "host", 1).await?;
    client.execute(lifetime, &[&world.stack.project, &"1 hour"]).await?;
    let laptop = world.look("laptop").id.clone();
    eventually("the certificate to expire", || async {
        let sql = "SELECT max(not_after) < now() FROM nebula.certificate WHERE device_id = $1::text::uuid";
        Ok(client.query_one(sql, &[&laptop]).await?.get::<_, bool>(0).then_some(()))
    })
    .await?;
    world.device("laptop").start()?;
    world.reaches("laptop", "lighthouse").await
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_again_after_a_lost_answer_gives_the_same_device() -> Result<()> {
    let mut world = World::joined(&[("lighthouse", "lighthouse", 1)]).await?;
    world.link.set(LinkFilter::Lossy);
    let picture = world.stack.path("code.png");
    let made = run(world.stack.ctl()?.args(["--json", "enrolment", "create", "--png"]).arg(&picture))?;
    assert!(fs::read(&picture)?.starts_with(b"\x89PNG"));
    let made: serde_json::Value = serde_json::from_str(&made)?;
    let code = made["code"].as_str().context("no code")?;
    let network = Network::new(2)?;
    let join = || {
        let (stack, link, nebula) = (&world.stack, &world.link, &world.releases[1]);
        Device::join_by(stack, &network, link, 2, nebula, "laptop", code)
    };
    let error = join().await.unwrap_err().to_string();
    assert!(error.contains("unreachable") || error.contains("broke off"), "{error}");
    let client = world.stack.database.connect().await?;
    let devices = || async {
        let sql = "SELECT count(*) FROM nebula.device WHERE role = 'host'";
        anyhow::Ok(client.query_one(sql, &[]).await?.get::<_, i64>(0))
    };
    assert_eq!(devices().await?, 1, "the gateway has enrolled it");
    world.link.set(LinkFilter::Open);
    let mut device = join().await?;
    assert_eq!(devices().await?, 1);
    assert_eq!(device.address, "10.99.0.2");
    device.start()?;
    eventually("the device to be up", || async { Ok(device.counter()) })
        .await
        .with_context(|| device.logs())?;

    // The code is used up and the error says so; the attempt leaves nothing behind.
    let again = world.stack.path("again");
    let error = run(world.stack.ctl()?.args(["join", "--code", code, "--dir"]).arg(&again)).unwrap_err();
    assert!(error.to_string().contains("code"), "{error}");
    assert!(!again.exists());
    let listed = run(world.stack.ctl()?.args(["enrolment", "ls"]))?;
    assert!(listed.contains("1/1") && listed.contains(ADMIN), "{listed}");
    world.devices.clear();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_on_p256_is_kept_up_to_date() -> Result<()> {
    let database = nebula_tests::cluster::Cluster::shared().await?.database().await?;
    let stack = Stack::start_on(database, "P256").await?;
    let plan = [("lighthouse", "lighthouse", 1), ("laptop", "host", 1)];
    let mut world = World::on(stack, &plan).await?;
    for device in &mut world.devices {
        device.start()?;
    }
    world.reaches("laptop", "lighthouse").await?;
    let client = world.stack.database.connect().await?;
    client.execute("SELECT nebula.bump_configuration($1)", &[&world.stack.project]).await?;
    client.execute("UPDATE nebula.device SET groups = '{new}' WHERE role = 'host'", &[]).await?;
    eventually("the new certificate to run", || async {
        let sql = "SELECT count(*) FROM nebula.agent_answer a
                    JOIN nebula.certificate c USING (device_id, public_key)
                    WHERE c.groups = '{new}' AND a.counter = (SELECT acknowledged_counter FROM nebula.agent b
                     WHERE b.device_id = a.device_id)";
        let running: i64 = client.query_one(sql, &[]).await?.get(0);
        Ok((running > 0).then_some(()))
    })
    .await
    .with_context(|| world.look("laptop").logs())?;
    world.current(&["lighthouse", "laptop"]).await?;
    world.reaches("laptop", "lighthouse").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_follows_a_gateway_restored_from_a_backup() -> Result<()> {
    let world = World::start(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 1)]).await?;
    world.current(&["lighthouse", "laptop"]).await?;
    let client = world.stack.database.connect().await?;
    let bump = "SELECT nebula.bump_configuration(project_id) FROM nebula.project;";
    let back_up = "CREATE TABLE public.agent AS TABLE nebula.agent;
                   CREATE TABLE public.agent_answer AS TABLE nebula.agent_answer;";
    client.batch_execute(&format!("{back_up} {bump}")).await?;
    world.current(&["lighthouse", "laptop"]).await?;
    // The version that the gateway knows: the agent's status file lags by up to two seconds.
    let laptop = world.look("laptop").id.clone();
    let counter = "SELECT acknowledged_counter FROM nebula.agent WHERE device_id = $1::text::uuid";
    let before: i64 = client.query_one(counter, &[&laptop]).await?.get(0);

    // The restored backup does not know the newest keys, and assigns the newest counter a second time.
    client
        .batch_execute(&format!(
            "BEGIN;
             DELETE FROM nebula.agent_answer;
             UPDATE nebula.agent a SET (counter, acknowledged_counter, acknowledged_version) =
                    (SELECT b.counter, b.acknowledged_counter, b.acknowledged_version
                       FROM public.agent b WHERE b.device_id = a.device_id);
             INSERT INTO nebula.agent_answer TABLE public.agent_answer;
             {bump}
             COMMIT"
        ))
        .await?;
    world.current(&["lighthouse", "laptop"]).await?;
    assert_eq!(client.query_one(counter, &[&laptop]).await?.get::<_, i64>(0), before);
    world.reaches("laptop", "lighthouse").await
}
