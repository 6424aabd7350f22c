//! The gateway caches the part of a configuration that all devices of a project share. A signed configuration
//! is never older than the version it claims.

use std::io::{Cursor, Read};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use nebula_api::device::RegisterRequest;
use nebula_certificate::{Curve, KeyPair};
use nebula_tests::api::Api;
use nebula_tests::stack::Stack;
use tokio_postgres::Client;
use uuid::Uuid;
use zip::ZipArchive;

use super::enrolled;

/// nebula.yml of a device that registers.
async fn registered(api: &Api, project: Uuid, name: &str) -> Result<String> {
    let request = RegisterRequest {
        project_id: project,
        device_id: Uuid::new_v4(),
        device_name: name.into(),
        public_key: KeyPair::generate(Curve::Curve25519)?.public_key().pem(),
        role: None,
        endpoints: vec![],
        enrolment_code: None,
    };
    let bundle = BASE64_STANDARD.decode(&api.register(&request).await?.zip_bundle)?;
    let mut text = String::new();
    ZipArchive::new(Cursor::new(bundle))?.by_name("nebula.yml")?.read_to_string(&mut text)?;
    Ok(text)
}

/// The version of a device's configuration, and whether the project's part came with it.
async fn asked(client: &Client, device: Uuid, known: i64) -> Result<(i64, bool)> {
    let sql = "SELECT version, project IS NOT NULL FROM nebula.device_configurations(NULL, ARRAY[$1::uuid], NULL, $2)";
    let row = client.query_one(sql, &[&device, &known]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_configuration_is_never_older_than_its_version() -> Result<()> {
    let stack = Stack::start().await?;
    let (admin, database) = (stack.admin().await?, stack.database.connect().await?);
    let mut agent = enrolled(&stack, "laptop").await?;
    let id: Uuid = agent.host.parse()?;
    let lighthouse = enrolled(&stack, "lighthouse").await?.host;
    let changes = [
        ("UPDATE nebula.project SET mtu = 1400".to_owned(), "  mtu: 1400\n"),
        ("UPDATE nebula.project SET inbound = 'closed', punchy = false".to_owned(), "  punch: false\n"),
        (
            format!(
                "UPDATE nebula.device SET role = 'lighthouse', endpoints = '{{192.0.2.9:4242}}'
                  WHERE device_id = '{lighthouse}'"
            ),
            "hosts: [\"10.99.0.2\"]\n",
        ),
        (format!("SELECT nebula.release_ip('{lighthouse}')"), "hosts: []\n"),
    ];
    for (number, (change, wanted)) in changes.iter().enumerate() {
        // This request fills the cache, which could serve the following ones.
        registered(&admin, stack.project, &format!("before-{number}")).await?;
        let (before, _) = asked(&database, id, 0).await?;
        assert_eq!(asked(&database, id, before).await?, (before, false));
        ensure!(*wanted == "hosts: []\n" || !agent.config.contains(wanted), "{wanted} is no change");

        database.batch_execute(change).await?;
        let (after, came) = asked(&database, id, before).await?;
        assert!(after > before && came, "{change}: {before}, {after}");
        let text = registered(&admin, stack.project, &format!("after-{number}")).await?;
        assert!(text.contains(wanted), "{change}: {text}");
        for _ in 0..2 {
            agent = agent.fetch("DoConfigUpdate").await?;
            assert!(agent.config.contains(wanted), "{change}: {}", agent.config);
        }
    }

    // The lifetime of certificates applies to the next one, and changes no running configuration.
    let (before, _) = asked(&database, id, 0).await?;
    database.batch_execute("UPDATE nebula.project SET certificate_lifetime = '1 hour'").await?;
    assert_eq!(asked(&database, id, before).await?, (before, false));
    let agent = agent.fetch("DoUpdate").await?;
    let certificates = agent.certificates()?;
    let until = certificates.first().context("no certificate")?.details().not_after;
    assert!(until <= Utc::now().timestamp() + 3600, "{until}");
    Ok(())
}
