//! A project is a trust domain: no file on a device opens the network of another project to it, although both
//! have the same range.

use std::fs;
use std::path::PathBuf;

use nebula_tests::process::Process;
use serde_json::{Value, json};

use super::rotation::authority;
use super::*;

/// Number of the host that is in other projects.
const GUEST: usize = 3;

/// Makes a project with the range of the first one.
async fn project(world: &World, name: &str) -> Result<()> {
    let client = world.stack.database.connect().await?;
    let make = "SELECT nebula.populate_pool(nebula.create_project($1, '10.99.0.0/16'), '10.99.0.0/24')::text";
    client.query_one(make, &[&name]).await?;
    Ok(())
}

/// Joins a device of this project that has the address of the laptop.
async fn guest(world: &mut World, project: &str) -> Result<()> {
    let address = world.look("laptop").address.clone();
    let create =
        ["--json", "enrolment", "create", "--project", project, "--name", project, "--address", &address];
    let made: Value = serde_json::from_str(&run(world.stack.ctl()?.args(create))?)?;
    let code = made["code"].as_str().context("no code")?;
    let release = &world.releases[1];
    let joined = Device::join_by(&world.stack, &world.network, &world.link, GUEST, release, project, code);
    let joined = joined.await?;
    assert_eq!(joined.address, address);
    world.devices.push(joined);
    Ok(())
}

/// Starts an unmodified nebula with the file of a guest, in which the lighthouse of the first project was
/// written.
fn intrude(world: &World, name: &str) -> Result<Process> {
    let (device, lighthouse) = (world.look(name), &world.look("lighthouse").address);
    let given = fs::read_to_string(device.folder.join("current/nebula.yml"))?;
    let (_, given) = given.split_once('\n').context("no comment")?;
    let mut edited: Value = serde_json::from_str(given)?;
    edited["static_host_map"] = json!({ lighthouse: [format!("{}:4242", Network::address(1))] });
    edited["lighthouse"]["hosts"] = json!([lighthouse]);
    let file = device.folder.join("edited.yml");
    fs::write(&file, edited.to_string())?;
    Process::start(&PathBuf::from("ip"), &log(world, name), "KILL", None, |command| {
        command.args(["netns", "exec", &world.network.namespace(GUEST)]).arg(&world.releases[1].daemon);
        command.arg("-config").arg(file);
    })
}

fn log(world: &World, name: &str) -> PathBuf {
    world.stack.log(&format!("{name}-intruder"))
}

/// Waits until the lighthouse has refused a handshake of the guest, and sees that the guest is not in.
async fn is_refused(world: &World, name: &str) -> Result<()> {
    let lighthouse = world.look("lighthouse");
    let seen = eventually("the lighthouse to refuse the guest", || async {
        let said = fs::read_to_string(lighthouse.folder.join("nebula.log"))?;
        Ok(said.contains("could not find ca for the certificate").then_some(()))
    });
    let context = || fs::read_to_string(log(world, name)).unwrap_or_default();
    seen.await.with_context(|| format!("{}{}", lighthouse.logs(), context()))?;
    assert!(!world.look(name).pings(lighthouse), "{name} is in");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_another_project_enters_no_network_whatever_its_file_says() -> Result<()> {
    let mut world = World::start(&[("lighthouse", "lighthouse", 1), ("laptop", "host", 0)]).await?;
    world.reaches("laptop", "lighthouse").await?;
    let client = world.stack.database.connect().await?;

    // A project has an authority of its own from the start.
    project(&world, "guests").await?;
    guest(&mut world, "guests").await?;
    let intruder = intrude(&world, "guests")?;
    is_refused(&world, "guests").await?;
    world.reaches("lighthouse", "laptop").await?;
    drop(intruder);
    let warnings =
        "SELECT count(*) FILTER (WHERE warning IS NOT NULL), count(*) FROM nebula.authority_status";
    let row = client.query_one(warnings, &[]).await?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (0, 2));
    let rotate = ["ca", "rotate", "--yes", "--project", "story", "--to", "guests"];
    let taken = run(world.stack.ctl()?.args(rotate)).unwrap_err();
    assert!(taken.to_string().contains("is that of project \"guests\""), "{taken}");

    // Projects of releases before 0.3.0 share one: their devices enter each other's networks, and that is told.
    project(&world, "legacy").await?;
    let share = "INSERT INTO nebula.project_authority (project_id, fingerprint)
                 SELECT g.project_id, s.fingerprint FROM nebula.project g, nebula.project_authority s
                  WHERE g.name = 'legacy' AND s.project_id = $1";
    assert_eq!(client.execute(share, &[&world.stack.project]).await?, 1);
    guest(&mut world, "legacy").await?;
    let intruder = intrude(&world, "legacy")?;
    world.reaches("legacy", "lighthouse").await?;
    let problem = "SELECT detail FROM nebula.check_pool() WHERE problem = 'authority-shared'";
    let told: String = client.query_one(problem, &[]).await?.get(0);
    assert!(told.contains("\"legacy\", \"story\""), "{told}");
    let findings = run(world.stack.ctl()?.arg("doctor")).unwrap_or_default();
    assert!(findings.contains("signs for 2 projects"), "{findings}");

    // One of them moves to an authority of its own; the other one blocks the certificates from before.
    authority(&world.stack, "own", "25519")?;
    run(world.stack.ctl()?.args([
        "ca",
        "rotate",
        "--yes",
        "--no-wait",
        "--project",
        "legacy",
        "--to",
        "own",
    ]))?;
    run(world.stack.ctl()?.args(["ca", "rotate", "--yes", "--no-wait", "--project", "legacy", "--force"]))?;
    world.current(&["lighthouse", "laptop"]).await?;
    eventually("the intruder to be cut off", || async {
        Ok((!world.look("legacy").pings(world.look("lighthouse"))).then_some(()))
    })
    .await?;
    drop(intruder);
    world.reaches("lighthouse", "laptop").await?;
    assert!(client.query_opt(problem, &[]).await?.is_none());
    Ok(())
}
