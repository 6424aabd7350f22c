//! Secrets are shown once, to those who need them: neither logs nor dumps have them.

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nebula_api::file::File;
use nebula_api::node::NewSecret;
use nebula_api::personal_token::NewPersonalToken;
use nebula_api::share::MadeShare;
use nebula_tests::api::{Api, data, good};
use nebula_tests::binary::run;
use nebula_tests::cluster::Cluster;
use nebula_tests::secret_log;
use nebula_tests::stack::{PASSWORD, Stack};
use serde_json::json;
use uuid::Uuid;

use crate::dnapi::{code, enrolled, host};

/// The forms in which a dump or a log could hold a secret.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned(), hex::encode(secret), BASE64_STANDARD.encode(secret)];
    forms.extend(BASE64_STANDARD.decode(secret).ok().map(hex::encode));
    forms
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_and_no_dump_holds_a_secret() -> Result<()> {
    // A server of its own, which logs each statement with its values.
    let settings =
        ["fsync=off", "log_statement=all", "log_min_duration_statement=0", "log_error_verbosity=verbose"];
    let cluster = Cluster::start(&settings).await?;
    let stack = Stack::start_on(cluster.database().await?, "25519").await?;
    let admin = stack.admin().await?;
    let file: File = data(admin.upload(stack.project, "a.txt", b"text".to_vec()).await?).await?;
    let share_password = "a password of a link";
    let share = json!({"fileId": file.file_id, "password": share_password, "allowsDownload": true});
    let share: MadeShare = data(admin.post("/api/shares").json(&share).send().await?).await?;
    let link = share.path.rsplit('/').next().context("a token")?.to_owned();
    let open = json!({"token": link, "password": share_password});
    good(admin.post("/api/shares/open").json(&open).send().await?).await?;
    let wanted = json!({"name": "ci", "scopes": ["admin"]});
    let token: NewPersonalToken = data(admin.post("/api/account/tokens").json(&wanted).send().await?).await?;
    let mut program: Api = admin.clone();
    program.tokens.access_token.clone_from(&token.token);
    good(program.get("/api/files").send().await?).await?;
    let code = code(&admin, &host(stack.project)).await?.code;
    enrolled(&stack, "laptop").await?;
    let owner = stack.database.connect().await?;
    let node: Uuid = owner.query_one("SELECT nebula.register_node('n', 'n.test:1')", &[]).await?.get(0);
    let secret: NewSecret = data(admin.post(&format!("/api/nodes/{node}/secret")).send().await?).await?;
    let refreshed: nebula_api::auth::TokenPair =
        good(admin.refresh(&admin.tokens.refresh_token).await?).await?.json().await?;
    // A statement that fails is logged, too.
    good(admin.get("/api/jobs/999999").send().await?).await.unwrap_err();

    let secrets = [
        ("password", PASSWORD.to_owned()),
        ("access token", admin.tokens.access_token.clone()),
        ("refresh token", admin.tokens.refresh_token.clone()),
        ("next access token", refreshed.access_token),
        ("next refresh token", refreshed.refresh_token),
        ("personal token", token.token),
        ("enrolment code", code),
        ("share link", link),
        ("password of a share", share_password.to_owned()),
        ("secret of a node", secret.secret),
        ("token key", std::fs::read_to_string(stack.path("token.key"))?),
    ];
    let dump = run(cluster.tool("pg_dump").arg(stack.database.name()))?;
    assert!(dump.contains("personal_token") && dump.contains("node_secret"), "it is a whole dump");
    let (gateway, server) = (std::fs::read_to_string(stack.log("gateway"))?, cluster.log()?);
    assert!(server.contains("nebula.use_personal_token"), "the server logs statements");
    for (name, secret) in &secrets {
        secret_log::note(secret);
        for form in forms(secret) {
            for (place, text) in
                [("dump", &dump), ("log of the gateway", &gateway), ("log of PostgreSQL", &server)]
            {
                assert!(!text.contains(&form), "the {name} is in the {place}");
            }
        }
    }
    Ok(())
}
