//! An authority whose key never leaves a PKCS#11 token: SoftHSM2, which keeps it encrypted in files of its
//! own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nebula_api::device::RegisterRequest;
use nebula_tests::binary::{self, built, run};
use nebula_tests::cluster::Cluster;
use nebula_tests::stack::{Stack, secret};
use uuid::Uuid;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "246810";

/// Creates a token for one test; answers the path of its configuration.
fn token(folder: &Path) -> Result<String> {
    let (tokens, config) = (folder.join("tokens"), folder.join("softhsm2.conf"));
    fs::create_dir(&tokens)?;
    fs::write(&config, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()))?;
    let config = config.to_str().context("an odd folder")?.to_owned();
    run(Command::new("softhsm2-util").env("SOFTHSM2_CONF", &config).args([
        "--init-token",
        "--free",
        "--label",
        "story token",
        "--so-pin",
        "13579",
        "--pin",
        PIN,
    ]))?;
    Ok(config)
}

fn create(folder: &Path, config: &str, curve: &str) -> Result<Vec<(String, String)>> {
    secret(&folder.join("pin"), PIN)?;
    let uri = format!(
        "pkcs11:token=story%20token;object=ca?module-path={MODULE}&pin-source=file:{}",
        folder.join("pin").display()
    );
    let cert = folder.join("ca.crt").display().to_string();
    let create = ["ca", "create", "--name", "token CA", "--curve", curve, "--cert", &cert, "--key", &uri];
    let said = run(Command::new(built("nebulactl")?).env("SOFTHSM2_CONF", config).args(create))?;
    assert!(said.contains("pkcs11:token=story") && !said.contains("pin"), "{said}");
    assert!(!folder.join("ca.key").exists());

    // A second key under the same label would make the label ambiguous.
    let other = folder.join("other.crt").display().to_string();
    let again = ["ca", "create", "--name", "again", "--curve", curve, "--cert", &other, "--key", &uri];
    let refused = run(Command::new(built("nebulactl")?).env("SOFTHSM2_CONF", config).args(again));
    assert!(refused.unwrap_err().to_string().contains("already"));
    let setting = |name: &str, value: String| (name.to_owned(), value);
    Ok(vec![
        setting("NEBULA_CA_CERT", cert),
        setting("NEBULA_CA_KEY", uri),
        setting("SOFTHSM2_CONF", config.to_owned()),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_token_signs_devices() -> Result<()> {
    let [old, new] = binary::nebula()?;
    for (curve, nebula) in [("25519", "X25519"), ("P256", "P256")] {
        let database = Cluster::shared().await?.database().await?;
        let stack = Stack::start_with(database, |folder| create(folder, &token(folder)?, curve)).await?;
        let folder = stack.path("device");
        fs::create_dir(&folder)?;
        run(Command::new(&new.cert)
            .current_dir(&folder)
            .args(["keygen", "-curve", curve, "-out-key", "node.key", "-out-pub", "node.pub"]))?;
        let public_key = fs::read_to_string(folder.join("node.pub"))?;
        assert!(public_key.contains(nebula));
        let request = RegisterRequest {
            project_id: stack.project,
            device_id: Uuid::new_v4(),
            device_name: "laptop".into(),
            public_key,
            role: None,
            endpoints: vec![],
            enrolment_code: None,
        };
        stack.admin().await?.register(&request).await?;

        let client = stack.database.connect().await?;
        let rows = client.query("SELECT version, pem FROM nebula.certificate ORDER BY version", &[]).await?;
        assert_eq!(rows.len(), 2);

        // A second project gets an authority of its own, whose key is in the same token.
        let guests: Uuid = client.query_one("SELECT nebula.create_project('guests')", &[]).await?.get(0);
        client.execute("SELECT nebula.populate_pool($1, '10.98.0.0/24')", &[&guests]).await?;
        let request = RegisterRequest { project_id: guests, device_id: Uuid::new_v4(), ..request };
        stack.admin().await?.register(&request).await?;
        let named =
            "SELECT count(*) FROM nebula.certificate c JOIN nebula.authority a ON a.fingerprint = c.issuer
                      WHERE c.project_id = $1 AND a.name = 'guests'";
        assert_eq!(client.query_one(named, &[&guests]).await?.get::<_, i64>(0), 2);
        let mut kinds = Vec::new();
        for file in fs::read_dir(stack.path("authorities"))? {
            kinds.push(file?.path().extension().unwrap_or_default().to_owned());
        }
        kinds.sort();
        assert_eq!(kinds, ["crt", "uri"], "no key in a file");
        assert!(fs::read_to_string(stack.log("gateway"))?.contains("made an authority"));
        for row in rows {
            let (version, pem): (i16, String) = (row.get(0), row.get(1));
            fs::write(folder.join("one.crt"), pem)?;
            for tool in [&old, &new] {
                if tool.version == "1.6.1" && (version == 2 || curve == "P256") {
                    continue;
                }
                let mut verify = Command::new(&tool.cert);
                verify
                    .arg("verify")
                    .arg("-ca")
                    .arg(stack.path("ca.crt"))
                    .arg("-crt")
                    .arg(folder.join("one.crt"));
                run(&mut verify)?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn token_errors_are_reported_at_start_without_the_pin() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = token(folder.path())?;
    let settings = create(folder.path(), &config, "25519")?;
    secret(&folder.path().join("token.key"), &"k".repeat(48))?;
    let module = format!("?module-path={MODULE}");
    for (uri, problem) in [
        (format!("pkcs11:token=story%20token;object=ca{module}&pin-value=000000"), "PIN"),
        (format!("pkcs11:token=story%20token;object=none{module}&pin-value={PIN}"), "no private key"),
        (format!("pkcs11:token=elsewhere;object=ca{module}&pin-value={PIN}"), "no token fits"),
        (format!("pkcs11:token=story%20token;object=ca?module-path=/none.so&pin-value={PIN}"), "/none.so"),
    ] {
        let mut gateway = Command::new(built("nebula-gateway")?);
        gateway.envs(settings.iter().map(|(name, value)| (name, value)));
        gateway.env("NEBULA_CA_KEY", uri).env("NEBULA_LISTEN", "127.0.0.1:0");
        gateway.env("NEBULA_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none");
        gateway.env("NEBULA_STORAGE_URL", format!("file://{}", folder.path().join("store").display()));
        gateway.env("NEBULA_TOKEN_KEY", folder.path().join("token.key"));
        let output = gateway.output()?;
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr)?;
        assert!(said.contains(problem), "{problem} is not in {said}");
        assert!(!said.contains("000000") && !said.contains(PIN), "{said}");
    }
    Ok(())
}
