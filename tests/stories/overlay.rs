//! Devices register over HTTP, and real nebula daemons of both releases reach each other with the bundles
//! they got.

use std::fs;
use std::io::{Cursor, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nebula_api::device::{Device, RegisterRequest, Registration};
use nebula_tests::api::{data, good};
use nebula_tests::binary::{self, Nebula, run};
use nebula_tests::eventually;
use nebula_tests::netns::{Network, privileged};
use nebula_tests::process::Process;
use nebula_tests::stack::Stack;
use uuid::Uuid;
use zip::ZipArchive;

mod access;

/// A device with a key pair made by nebula-cert.
struct Joined {
    folder: PathBuf,
    request: RegisterRequest,
    registration: Registration,
}

async fn join(stack: &Stack, tool: &Nebula, name: &str, lighthouse: Option<String>) -> Result<Joined> {
    let folder = stack.path(name);
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let public = folder.join("node.pub");
    run(Command::new(&tool.cert)
        .arg("keygen")
        .arg("-out-key")
        .arg(folder.join("node.key"))
        .arg("-out-pub")
        .arg(&public))?;
    let request = RegisterRequest {
        project_id: stack.project,
        device_id: Uuid::new_v4(),
        device_name: name.into(),
        public_key: fs::read_to_string(public)?,
        role: lighthouse.as_ref().map(|_| "lighthouse".into()),
        endpoints: lighthouse.into_iter().collect(),
        enrolment_code: None,
    };
    let registration = stack.admin().await?.register(&request).await?;
    unpack(&BASE64_STANDARD.decode(&registration.zip_bundle)?, &folder)?;
    Ok(Joined { folder, request, registration })
}

fn unpack(bundle: &[u8], folder: &Path) -> Result<()> {
    let mut archive = ZipArchive::new(Cursor::new(bundle))?;
    let mut names =
        archive.file_names().map(|name| Ok(name?.into_owned())).collect::<Result<Vec<String>>>()?;
    names.sort();
    assert_eq!(names, ["README.md", "ca.crt", "nebula.yml", "node.crt"]);
    for name in names {
        let mut text = String::new();
        archive.by_name(&name)?.read_to_string(&mut text)?;
        assert!(!text.contains("PRIVATE KEY"), "{name} carries a private key");
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// Verifies every certificate in `node.crt` with nebula-cert; answers their versions.
fn verify(tool: &Nebula, folder: &Path) -> Result<Vec<u64>> {
    let certificates = fs::read_to_string(folder.join("node.crt"))?;
    let mut versions = Vec::new();
    for block in certificates
        .split_inclusive("-----END NEBULA CERTIFICATE V2-----\n")
        .flat_map(|part| part.split_inclusive("-----END NEBULA CERTIFICATE-----\n"))
    {
        let version = if block.contains("CERTIFICATE V2") { 2 } else { 1 };
        // Release 1.6.1 knows only version 1.
        if block.trim().is_empty() || (tool.version == "1.6.1" && version == 2) {
            continue;
        }
        let one = folder.join(format!("v{version}.crt"));
        fs::write(&one, block)?;
        run(Command::new(&tool.cert)
            .arg("verify")
            .arg("-ca")
            .arg(folder.join("ca.crt"))
            .arg("-crt")
            .arg(one))?;
        versions.push(version);
    }
    Ok(versions)
}

fn daemon(network: &Network, host: usize, release: &Nebula, joined: &Joined) -> Result<Process> {
    let mut check = Command::new(&release.daemon);
    run(check.args(["-test", "-config", "nebula.yml"]).current_dir(&joined.folder))?;
    let ip = PathBuf::from("ip");
    Process::start(&ip, &joined.folder.join("nebula.log"), "KILL", None, |command| {
        command.args(["netns", "exec", &network.namespace(host)]).arg(&release.daemon);
        command.args(["-config", "nebula.yml"]).current_dir(&joined.folder);
    })
}

async fn ping(network: &Network, from: usize, to: &Joined) -> Result<()> {
    let address = &to.registration.nebula_ip;
    let seen = eventually(&format!("host {from} to reach {address}"), || async {
        let mut command = privileged("ip");
        command.args(["netns", "exec", &network.namespace(from), "ping", "-c", "1", "-W", "1", address]);
        Ok(run(&mut command).ok())
    })
    .await;
    seen.with_context(|| fs::read_to_string(to.folder.join("nebula.log")).unwrap_or_default())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_devices_of_both_releases_reach_each_other() -> Result<()> {
    let stack = Stack::start().await?;
    let [old, new] = binary::nebula()?;
    let lighthouse = join(&stack, &new, "lighthouse", Some(format!("{}:4242", Network::address(1)))).await?;
    let laptop = join(&stack, &new, "laptop", None).await?;
    let phone = join(&stack, &old, "phone", None).await?;
    let addresses = [&lighthouse, &laptop, &phone].map(|joined| joined.registration.nebula_ip.as_str());
    assert_eq!(addresses, ["10.99.0.1", "10.99.0.2", "10.99.0.3"]);
    for joined in [&lighthouse, &laptop, &phone] {
        assert_eq!(verify(&old, &joined.folder)?, [1], "release 1.6.1");
        assert_eq!(verify(&new, &joined.folder)?, [1, 2], "release 1.11");
    }

    let network = Network::new(3)?;
    let _lighthouse = daemon(&network, 1, &new, &lighthouse)?;
    let _laptop = daemon(&network, 2, &new, &laptop)?;
    let _phone = daemon(&network, 3, &old, &phone)?;
    for (from, to) in [(2, &lighthouse), (3, &lighthouse), (2, &phone), (3, &laptop), (1, &laptop)] {
        ping(&network, from, to).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_again_changes_only_the_certificate() -> Result<()> {
    let stack = Stack::start().await?;
    let [_, new] = binary::nebula()?;
    let joined = join(&stack, &new, "laptop", None).await?;
    let api = stack.admin().await?;
    let again = api.register(&joined.request).await?;
    assert_eq!(again.nebula_ip, joined.registration.nebula_ip);
    let client = stack.database.connect().await?;
    let held: i64 = client.query_one("SELECT count(*) FROM nebula.allocation", &[]).await?.get(0);
    assert_eq!(held, 1, "no second allocation");

    let device: Device = api.read(&format!("/api/nebula/status/{}", joined.request.device_id)).await?;
    assert_eq!((device.name.as_str(), device.nebula_ip.as_deref()), ("laptop", Some("10.99.0.1")));
    let ca = good(api.anonymous("/api/nebula/ca").send().await?).await?.text().await?;
    assert_eq!(ca, fs::read_to_string(joined.folder.join("ca.crt"))?);

    // `Accept: application/zip` answers the zip itself.
    let zip = api
        .post("/api/nebula/register")
        .header("Accept", "application/zip")
        .json(&joined.request)
        .send()
        .await?;
    let bytes = good(zip).await?.bytes().await?;
    unpack(&bytes, &joined.folder)?;

    // After the release the address is not free: a certificate that names it is still valid.
    let release = format!("/api/nebula/release/{}", joined.request.device_id);
    let _: serde_json::Value = data(api.post(&release).send().await?).await?;
    let next = join(&stack, &new, "desktop", None).await?;
    assert_eq!(next.registration.nebula_ip, "10.99.0.2");
    let usage = client
        .query_one("SELECT quarantined::int, allocated::int FROM nebula.pool_usage($1)", &[&stack.project])
        .await?;
    assert_eq!((usage.get::<_, i32>(0), usage.get::<_, i32>(1)), (1, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nebulactl_joins_with_a_key_made_on_the_device() -> Result<()> {
    let stack = Stack::start().await?;
    let [old, new] = binary::nebula()?;
    let folder = stack.path("joined");
    let join =
        || -> Result<String> { run(stack.ctl()?.args(["join", "--name", "laptop", "--dir"]).arg(&folder)) };
    assert!(join()?.contains("10.99.0.1"));
    assert!(join()?.contains("10.99.0.1"), "joining again keeps the address");
    assert_eq!((verify(&old, &folder)?, verify(&new, &folder)?), (vec![1], vec![1, 2]));
    for release in [&old, &new] {
        run(Command::new(&release.daemon).args(["-test", "-config", "nebula.yml"]).current_dir(&folder))?;
    }
    let mode = run(Command::new("stat").args(["-c", "%a"]).arg(folder.join("node.key")))?;
    assert_eq!(mode.trim(), "600");
    Ok(())
}
