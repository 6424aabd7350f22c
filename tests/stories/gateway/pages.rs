//! All pages of the console in a real Chromium: what people do on them, and whether everybody can.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nebula_api::device::RegisterRequest;
use nebula_tests::binary::{root, run};
use nebula_tests::stack::{ADMIN, PASSWORD, Stack};
use rand::RngExt;
use uuid::Uuid;

/// A device that has no agent; a lighthouse is reached at an address for examples.
fn device(stack: &Stack, name: &str, role: &str) -> RegisterRequest {
    RegisterRequest {
        project_id: stack.project,
        device_id: Uuid::now_v7(),
        device_name: name.to_owned(),
        public_key: BASE64_STANDARD.encode(rand::rng().random::<[u8; 32]>()),
        role: Some(role.to_owned()),
        endpoints: (role == "lighthouse").then(|| "192.0.2.1:4242".to_owned()).into_iter().collect(),
        enrolment_code: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_does_what_it_is_for_and_is_usable_by_everybody() -> Result<()> {
    let stack = Stack::start().await?;
    let admin = stack.admin().await?;
    for (name, role) in [("door", "lighthouse"), ("nas", "host"), ("laptop", "host"), ("lost", "host")] {
        admin.register(&device(&stack, name, role)).await?;
    }
    stack.member("ben").await?;
    run(stack.ctl()?.args(["account", "remove", "ben"]))?;
    // Pictures for people, where the environment wants them.
    let pictures = std::env::var_os("NEBULA_PICTURES").map_or_else(|| stack.path("pictures"), PathBuf::from);
    fs::create_dir_all(&pictures)?;
    let mut browser = Command::new("npm");
    browser.arg("--prefix").arg(root().join("gateway/web")).args(["--silent", "run", "e2e", "--"]);
    browser.args(["types", "pages"]);
    browser.env("NEBULA_URL", stack.url()).env("NEBULA_USERNAME", ADMIN).env("NEBULA_PASSWORD", PASSWORD);
    run(browser.env("NEBULA_PICTURES", &pictures))?;
    Ok(())
}
