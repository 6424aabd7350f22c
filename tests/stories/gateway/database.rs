//! The way to PostgreSQL: behind PgBouncer in both modes, over TLS with and without checks, and in a database
//! with another default isolation.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use nebula_tests::api::{Api, data};
use nebula_tests::binary::{built, run};
use nebula_tests::cluster::{Cluster, Database};
use nebula_tests::pooler::Pooler;
use nebula_tests::stack::{Stack, secret};
use reqwest::Response;
use serde_json::{Value, json};
use tokio_postgres::{Client, SimpleQueryMessage};
use uuid::Uuid;

/// Reads a stream until a text is in it.
async fn hears(mut stream: Response, text: &str) -> Result<()> {
    let mut heard = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&heard).contains(text) {
            heard.extend(stream.chunk().await?.context("the stream ended")?);
        }
        Ok(())
    };
    tokio::time::timeout(nebula_tests::EVENT_TIMEOUT, reading).await.context("nothing was heard")?
}

/// Most kinds of statement: queries, transactions, composite arrays, errors, many at once; and LISTEN.
async fn serves(stack: &Stack) -> Result<()> {
    let api = stack.admin().await?;
    let stream = api.get("/api/stream").send().await?;
    let register = |name: String| {
        let body = json!({
            "projectId": stack.project, "deviceId": Uuid::new_v4(), "deviceName": name,
            "publicKey": hex::encode(rand::random::<[u8; 32]>()),
        });
        let api = api.clone();
        async move { data::<Value>(api.post("/api/nebula/register").json(&body).send().await?).await }
    };
    try_join_all((0..12).map(|number| register(format!("device-{number}-{}", Uuid::new_v4().simple()))))
        .await?;
    hears(stream, "register").await?;
    for path in [
        "/api/projects",
        "/api/pools",
        "/api/devices",
        "/api/certificates",
        "/api/authorities",
        "/api/nodes",
        "/api/jobs",
        "/api/events",
        "/api/files",
        "/api/enrolments",
        "/api/rotations",
    ] {
        try_join_all((0..6).map(|_| api.read::<Value>(path))).await.with_context(|| path.to_owned())?;
    }
    let code = api.post("/api/enrolments").json(&json!({ "projectId": stack.project }));
    let code: Value = data(code.send().await?).await?;
    ensure!(code["code"].is_string(), "{code}");
    let uploaded = api.upload(stack.project, "notes.txt", b"words".to_vec()).await?;
    ensure!(uploaded.status().as_u16() < 300 || uploaded.status() == 400, "{}", uploaded.status());
    let again = Api::login(&stack.url(), nebula_tests::stack::ADMIN, nebula_tests::stack::PASSWORD).await?;
    ensure!(again.refresh(&again.tokens.refresh_token).await?.status().is_success());
    let metrics = api.anonymous("/metrics").send().await?.text().await?;
    ensure!(metrics.contains("nebula_certificate_devices{"), "{metrics}");
    let log = fs::read_to_string(stack.log("gateway"))?;
    ensure!(!log.contains("internal error") && !log.contains("prepared statement"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_serves_behind_a_pooler_in_either_mode_and_says_when_it_cannot_listen() -> Result<()> {
    let mut stack = Stack::start().await?;
    let database = stack.database.clone();
    let direct = database.url_as("nebula_gateway");
    let session = Pooler::start(&database, "session").await?;
    stack.restart_with(&[("NEBULA_DATABASE_URL", &session.url(&database, "nebula_gateway"))]).await?;
    serves(&stack).await?;

    let transaction = Pooler::start(&database, "transaction").await?;
    let pooled = transaction.url(&database, "nebula_gateway");
    stack.stop_gateway()?;
    let refused = stack.refused_gateway(&[("NEBULA_DATABASE_URL", &pooled)])?;
    ensure!(
        refused.contains("transaction mode") && refused.contains("NEBULA_DATABASE_LISTEN_URL"),
        "{refused}"
    );
    let password = stack.path("password");
    let mut account = Command::new(built("nebula-gateway")?);
    account.args(["account", "bela", "--role", "member", "--password-file"]).arg(password);
    run(account.env("NEBULA_DATABASE_URL", transaction.url(&database, "postgres")))?;
    // The sessions that the command used serve other clients of its role next.
    for client in [transaction.connect(&database).await?, transaction.connect(&database).await?] {
        client.batch_execute("BEGIN").await?;
        let limit: Vec<_> = client.simple_query("SHOW statement_timeout").await?;
        let limit = limit.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        ensure!(limit == Some("0"), "{limit:?}");
    }
    stack.set("NEBULA_DATABASE_URL", &pooled);
    stack.set("NEBULA_DATABASE_LISTEN_URL", &direct);
    stack.start_gateway().await?;
    serves(&stack).await?;

    // A worker polls there, and says so unless it has a session to listen in.
    let worker = transaction.url(&database, "nebula_worker");
    let both = [
        ("NEBULA_DATABASE_URL", worker.as_str()),
        ("NEBULA_DATABASE_LISTEN_URL", &database.url_as("nebula_worker")),
    ];
    for (name, settings, answer) in [
        ("polls", &both[..1], "set NEBULA_DATABASE_LISTEN_URL"),
        ("listens", &both[..], "LISTEN has a session of its own"),
    ] {
        let _worker = stack.worker_with(name, 30, settings)?;
        nebula_tests::eventually("the worker to say whether it hears of jobs", || async {
            let log = fs::read_to_string(stack.log(name))?;
            Ok(log.contains(answer).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_at_once_succeed_in_a_database_that_is_serializable_by_default() -> Result<()> {
    let mut stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    let name = stack.database.name();
    let sql = format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'");
    client.batch_execute(&sql).await?;
    stack.restart_with(&[]).await?;
    serves(&stack).await
}

/// A certificate for a name, and the authority that signed it.
fn make_certificates(folder: &Path, name: &str) -> Result<()> {
    let script = format!(
        "cd {} && openssl req -new -x509 -days 2 -nodes -subj /CN=authority -out root.crt -keyout root.key \
         && openssl req -new -nodes -subj /CN={name} -out server.csr -keyout server.key \
         && printf 'subjectAltName=DNS:{name}' >names \
         && openssl x509 -req -days 2 -in server.csr -CA root.crt -CAkey root.key -CAcreateserial \
              -extfile names -out server.crt \
         && openssl req -new -x509 -days 2 -nodes -subj /CN=other -out other.crt -keyout other.key",
        folder.display()
    );
    run(Command::new("sh").args(["-c", &script])).map(drop)
}

/// Puts the server's certificate and key into its data folder.
fn install_certificates(data: &Path, folder: &Path) -> Result<()> {
    make_certificates(folder, "localhost")?;
    for file in ["server.crt", "server.key"] {
        let owner = "stat -c %U:%G \"$1\"";
        let owner = run(Command::new("sh").args(["-c", owner, "sh"]).arg(data))?;
        run(Command::new("install").args(["-m", "600"]).arg(folder.join(file)).arg(data.join(file)))?;
        run(Command::new("chown").arg(owner.trim()).arg(data.join(file)))?;
    }
    Ok(())
}

/// Lets the gateway's and the worker's roles in by TLS alone.
async fn require_tls(data: &Path, database: &Database) -> Result<Client> {
    fs::write(
        data.join("pg_hba.conf"),
        "hostssl all all all trust\nhostnossl all postgres 127.0.0.1/32 trust\n",
    )?;
    let admin = database.connect().await?;
    admin.batch_execute("ALTER SYSTEM SET ssl = on").await?;
    admin.batch_execute("SELECT pg_reload_conf()").await?;
    nebula_tests::eventually("the server to offer TLS", || async {
        let row = admin.query_one("SELECT current_setting('ssl')", &[]).await?;
        Ok((row.get::<_, String>(0) == "on").then_some(()))
    })
    .await?;
    Ok(admin)
}

/// Connects with each mode, to hosts that the certificate names and does not, with the right root and others.
fn connections_are_checked(
    folder: &Path,
    root: &impl Fn(&str) -> String,
    url: &impl Fn(&str, &str, String) -> String,
) -> Result<()> {
    let other = folder.join("other.crt");
    let password = folder.join("password");
    secret(&password, "correct horse battery")?;
    let account = |url: String| -> Result<(bool, String)> {
        let mut command = Command::new(built("nebula-gateway")?);
        command.args(["account", "anna", "--role", "member", "--password-file"]).arg(&password);
        let output = command.env("NEBULA_DATABASE_URL", url).output()?;
        Ok((output.status.success(), String::from_utf8(output.stderr)?))
    };
    for (host, query, words) in [
        ("127.0.0.1", "sslmode=require".to_owned(), None),
        ("127.0.0.1", "sslmode=prefer".to_owned(), None),
        ("127.0.0.1", root("verify-ca"), None),
        ("localhost", root("verify-full"), None),
        ("127.0.0.1", root("verify-full"), Some("mismatch")),
        ("localhost", "sslmode=verify-full".to_owned(), Some("certificate verify failed")),
        (
            "localhost",
            format!("sslmode=verify-ca&sslrootcert={}", other.display()),
            Some("certificate verify failed"),
        ),
        (
            "localhost",
            format!("sslmode=require&sslrootcert={}", other.display()),
            Some("certificate verify failed"),
        ),
        ("localhost", "sslmode=verify-full&sslrootcert=/nonexistent".to_owned(), Some("sslrootcert")),
    ] {
        let (succeeded, said) = account(url(host, "postgres", query.clone()))?;
        match words {
            None => ensure!(succeeded, "{host} {query}: {said}"),
            Some(words) => ensure!(!succeeded && said.contains(words), "{host} {query}: {said}"),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_to_postgresql_can_be_encrypted_and_checked() -> Result<()> {
    let cluster = Cluster::start(&["fsync=off"]).await?;
    let database = cluster.database().await?;
    let folder = nebula_tests::scratch::Scratch::new("tls")?;
    install_certificates(&cluster.data(), folder.path())?;
    let mut stack = Stack::start_on(database.clone(), "25519").await?;
    let admin = require_tls(&cluster.data(), &database).await?;
    let root = folder.path().join("root.crt");
    let url = |host: &str, role: &str, query: String| {
        format!("{}?{query}", database.url_as(role).replace("127.0.0.1", host))
    };
    let root = |mode: &str| format!("sslmode={mode}&sslrootcert={}", root.display());

    connections_are_checked(folder.path(), &root, &url)?;

    stack.stop_gateway()?;
    stack.set("NEBULA_DATABASE_URL", url("localhost", "nebula_gateway", root("verify-full")));
    stack.start_gateway().await?;
    let unencrypted = "SELECT count(*) FROM pg_stat_activity a LEFT JOIN pg_stat_ssl s USING (pid)
                        WHERE a.usename IN ('nebula_gateway', 'nebula_worker') AND s.ssl IS DISTINCT FROM true";
    serves(&stack).await?;
    let worker = url("localhost", "nebula_worker", root("verify-full"));
    let _worker = stack.worker_with("worker", 30, &[("NEBULA_DATABASE_URL", &worker)])?;
    let listening = "SELECT count(*) FROM pg_stat_activity
                      WHERE usename = 'nebula_worker' AND query LIKE 'LISTEN%'";
    nebula_tests::eventually("the worker to listen", || async {
        Ok((admin.query_one(listening, &[]).await?.get::<_, i64>(0) > 0).then_some(()))
    })
    .await?;
    ensure!(admin.query_one(unencrypted, &[]).await?.get::<_, i64>(0) == 0, "a connection is in the clear");
    // The server takes no connection of these roles in the clear, so nothing above fell back to it.
    let clear = database.connect_as("nebula_gateway").await;
    ensure!(clear.is_err(), "a connection in the clear was let in");
    Ok(())
}
