//! A configuration counts as applied when nebula, 1.6.1 as well as 1.11, has taken over all of it without an
//! objection and starts with it. From all others there is a way back.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nebula_tests::netns::privileged;

use super::*;

/// Another endpoint of the lighthouse, which both releases take over by a reload.
const ENDPOINT: &str = "192.0.2.99:4242";

/// While a file exists, puts a rule that nebula does not understand into each configuration that it is to
/// test, so that the test does not see it and the reload does.
const MISTAKES: &str = r#"#!/bin/sh
if [ "$1" = -test ] && [ -e FAULT ]; then
  echo 'firewall: {inbound: [{port: any, proto: rot13, host: any}]}' >"${3%/*}/mistake.yml"
fi
[ "$1" = -config ] || exec NEBULA "$@"
folder=${2%/current/nebula.yml}
mkdir -p "$folder/merged"
ln -sf "$2" "$folder/merged/1.yml"
ln -sf "$folder/current/mistake.yml" "$folder/merged/2.yml"
exec NEBULA -config "$folder/merged" "$2"
"#;

/// While a file exists, does not start with that endpoint.
const NEVER_AGAIN: &str = r#"#!/bin/sh
if [ "$1" = -config ] && [ -e FAULT ] && grep -q ENDPOINT "$2"; then
  echo '{"level":"fatal","msg":"Failed to start: not with that endpoint"}'
  exit 1
fi
exec NEBULA "$@"
"#;

/// A lighthouse, and a device of each release whose nebula is wrapped by a script.
async fn world(script: &str) -> Result<World> {
    let mut world = World::joined(&[]).await?;
    world.network = Network::new(3)?;
    world.join("lighthouse", "lighthouse", 1).await?;
    let fault = world.stack.path("fault").display().to_string();
    for release in 0..2 {
        let program = world.stack.path(&format!("nebula-{release}"));
        let daemon = world.releases[release].daemon.display().to_string();
        let text = script.replace("FAULT", &fault).replace("ENDPOINT", ENDPOINT).replace("NEBULA", &daemon);
        fs::write(&program, text)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        world.releases[release].daemon = program;
    }
    for (name, release) in [("old", 0), ("new", 1)] {
        world.join(name, "host", release).await?;
    }
    for device in &mut world.devices {
        device.start()?;
    }
    for name in ["old", "new"] {
        world.reaches(name, "lighthouse").await?;
    }
    world.current(&["lighthouse", "old", "new"]).await?;
    Ok(world)
}

/// Sends the devices a configuration with another endpoint.
async fn change(world: &World) -> Result<()> {
    let client = world.stack.database.connect().await?;
    let change = format!(
        "UPDATE nebula.device SET endpoints = endpoints || text '{ENDPOINT}' WHERE name = 'lighthouse';
         SELECT nebula.bump_configuration(project_id) FROM nebula.project"
    );
    Ok(client.batch_execute(&change).await?)
}

/// Waits until the gateway knows that a device's nebula refuses a configuration; returns the reason.
async fn refused(world: &World, name: &str) -> Result<String> {
    let client = world.stack.database.connect().await?;
    let device = world.look(name);
    let reason = eventually("the gateway to know of the refusal", || async {
        let sql = "SELECT refused_reason FROM nebula.agent WHERE device_id = $1::text::uuid";
        Ok(client.query_one(sql, &[&device.id]).await?.get::<_, Option<String>>(0))
    });
    reason.await.with_context(|| device.logs())
}

fn runs_endpoint(device: &Device) -> Result<bool> {
    Ok(fs::read_to_string(device.folder.join("current/nebula.yml"))?.contains(ENDPOINT))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_reloaded_with_an_error_is_refused_and_the_tunnels_stay() -> Result<()> {
    let world = world(MISTAKES).await?;
    let before = [world.look("old").nebulas()?, world.look("new").nebulas()?];
    fs::write(world.stack.path("fault"), "")?;
    change(&world).await?;
    for name in ["old", "new"] {
        let reason = refused(&world, name).await?;
        assert!(reason.contains("proto was not understood"), "{name}: {reason}");
        assert!(!runs_endpoint(world.look(name))?, "{name} is back at the configuration before");
        world.reaches(name, "lighthouse").await?;
    }
    let after = [world.look("old").nebulas()?, world.look("new").nebulas()?];
    assert_eq!(after, before, "the nebula that ran goes on running");

    fs::remove_file(world.stack.path("fault"))?;
    let client = world.stack.database.connect().await?;
    client.batch_execute("SELECT nebula.bump_configuration(project_id) FROM nebula.project").await?;
    world.current(&["old", "new"]).await?;
    for (name, nebulas) in ["old", "new"].into_iter().zip(before) {
        assert!(runs_endpoint(world.look(name))?, "{}", world.look(name).logs());
        assert_eq!(world.look(name).nebulas()?, nebulas, "{name} has reloaded it");
        world.reaches(name, "lighthouse").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nebula_that_does_not_start_any_more_runs_the_configuration_before() -> Result<()> {
    let mut world = world(NEVER_AGAIN).await?;
    change(&world).await?;
    world.current(&["old", "new"]).await?;
    fs::write(world.stack.path("fault"), "")?;
    for name in ["old", "new"] {
        assert!(runs_endpoint(world.look(name))?, "it was taken over by a reload");
        for pid in world.look(name).nebulas()? {
            run(privileged("kill").args(["-KILL", &pid]))?;
        }
    }
    for name in ["old", "new"] {
        let reason = refused(&world, name).await?;
        assert!(reason.contains("not with that endpoint"), "{name}: {reason}");
        world.reaches(name, "lighthouse").await?;
        assert!(!runs_endpoint(world.look(name))?, "{}", world.look(name).logs());
    }

    // Also over a restart of the agent.
    assert_eq!(world.device("old").stop()?, Some(0));
    world.device("old").start()?;
    world.reaches("old", "lighthouse").await?;
    fs::remove_file(world.stack.path("fault"))?;
    for name in ["old", "new"] {
        let device = world.look(name);
        eventually("the configuration to run after all", || async {
            Ok((runs_endpoint(device)? && device.status()["refused"].is_null()).then_some(()))
        })
        .await
        .with_context(|| device.logs())?;
        world.reaches(name, "lighthouse").await?;
    }
    // The gateway takes the calls of both, as before.
    let client = world.stack.database.connect().await?;
    client.batch_execute("SELECT nebula.bump_configuration(project_id) FROM nebula.project").await?;
    world.current(&["old", "new"]).await
}
