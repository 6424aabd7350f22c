//! Invalid input is refused with the right status or SQLSTATE, a message and a hint, and leaves nothing
//! behind.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::Result;
use nebula_api::device::RegisterRequest;
use nebula_tests::api::{Refusal, refusal};
use nebula_tests::cluster::Cluster;
use nebula_tests::eventually;
use nebula_tests::media::{self, FRIENDLY};
use nebula_tests::sql::{error_of, sqlstate_with_hint};
use nebula_tests::stack::Stack;
use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

fn assert_refused(refused: &Refusal, status: StatusCode, sqlstate: &str, words: &[&str]) {
    let said = format!("{} {} {:?}", refused.status, refused.failure.sqlstate, refused.failure);
    assert_eq!((refused.status, refused.failure.sqlstate.as_str()), (status, sqlstate), "{said}");
    for word in words {
        assert!(refused.failure.detail.contains(word), "no word of {word:?} in: {said}");
    }
    assert!(refused.failure.hint.is_some(), "no hint in: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_arguments_in_sql_are_refused_with_sqlstate_and_hint() -> Result<()> {
    let database = Cluster::shared().await?.database().await?;
    let client = database.connect().await?;
    let project: Uuid =
        client.query_one("SELECT nebula.create_project('input', '10.0.0.0/8')", &[]).await?.get(0);
    client.execute("SELECT nebula.populate_pool($1, '10.1.0.0/24')", &[&project]).await?;
    let nobody = Uuid::new_v4();
    for (call, expected) in [
        (format!("SELECT nebula.populate_pool('{nobody}', '10.2.0.0/24')"), "P0002"),
        (format!("SELECT nebula.allocate_ip('{nobody}', gen_random_uuid())"), "P0002"),
        (format!("SELECT nebula.populate_pool('{project}', '10.2.0.0/33', 'b')"), "22P02"),
        (format!("SELECT nebula.populate_pool('{project}', '10.2.0.5/24', 'b')"), "22023"),
        (format!("SELECT nebula.populate_pool('{project}', '10.1.0.128/25', 'b')"), "23505"),
        (format!("SELECT nebula.populate_pool('{project}', '192.168.0.0/24', 'b')"), "22023"),
        (format!("SELECT nebula.allocate_ip('{project}', gen_random_uuid(), pool => 'nope')"), "P0002"),
        (
            format!("SELECT nebula.allocate_ip('{project}', gen_random_uuid(), address => '10.1.0.0')"),
            "22023",
        ),
        (format!("SELECT nebula.allocate_ip('{project}', gen_random_uuid(), lease => '-1 s')"), "22023"),
        ("SELECT nebula.create_project('input')".into(), "23505"),
        ("SELECT nebula.create_project('host bits', '10.0.0.1/8')".into(), "22023"),
        ("SELECT nebula.enqueue_job('No Kind', '{}')".into(), "22023"),
        ("SELECT nebula.enqueue_job('a', '{}', depends_on => '{999}')".into(), "P0002"),
        ("SELECT nebula.claim_jobs('w', '{a}', lease => '0 s')".into(), "22023"),
        ("SELECT nebula.complete_job(999, 1)".into(), "55000"),
        ("SELECT nebula.select_node('cleverest')".into(), "P0002"),
        ("SELECT nebula.select_node('best:of')".into(), "22023"),
        (format!("SELECT nebula.create_enrolment('{project}', role => 'boss')"), "22023"),
        (format!("SELECT nebula.create_enrolment('{project}', groups => NULL)"), "22023"),
        (format!("SELECT nebula.create_enrolment('{project}', creator => '{nobody}')"), "P0002"),
        (format!("SELECT nebula.create_enrolment('{project}', address => '10.1.0.0')"), "22023"),
        (format!("SELECT nebula.create_enrolment('{project}', address => '10.1.0.255')"), "22023"),
        (format!("SELECT nebula.create_enrolment('{project}', address => '10.1.0.9/24')"), "22023"),
        (format!("SELECT nebula.add_rule('{project}', 'inbound', remote_groups => NULL)"), "22023"),
        ("SELECT nebula.link_device_table('pg_class', NULL)".into(), "22023"),
        ("SELECT nebula.node_heartbeat(gen_random_uuid(), '{\"load\": 1e400}')".into(), "22023"),
        ("SELECT nebula.node_heartbeat(gen_random_uuid(), '{\"load\": \"high\"}')".into(), "22023"),
        ("SELECT nebula.node_heartbeat(gen_random_uuid(), '[1]')".into(), "22023"),
        (
            "SELECT nebula.node_heartbeat(gen_random_uuid(), jsonb_build_object('x', repeat('x', 5000)))"
                .into(),
            "22023",
        ),
    ] {
        // PostgreSQL's own error for text that is no address has no hint.
        let sqlstate = match expected {
            "22P02" => error_of(&client, &call).await?.code().code().to_owned(),
            _ => sqlstate_with_hint(&client, &call).await?,
        };
        assert_eq!(sqlstate, expected, "{call}");
    }
    let long = "SELECT nebula.enqueue_job(repeat('x', 1000000), '{}')";
    assert!(error_of(&client, long).await?.message().len() < 10_000, "the log would keep it all");
    let left = "SELECT (SELECT count(*) FROM nebula.allocation) + (SELECT count(*) FROM nebula.job_waiting)
                     + (SELECT count(*) FROM nebula.pool) + (SELECT count(*) FROM nebula.project)";
    let left: i64 = client.query_one(left, &[]).await?.get(0);
    assert_eq!(left, 2, "one project and one pool, as before");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_registration_is_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let good = RegisterRequest {
        project_id: stack.project,
        device_id: Uuid::new_v4(),
        device_name: "laptop".into(),
        public_key: hex::encode([7; 32]),
        role: None,
        endpoints: vec![],
        enrolment_code: None,
    };
    let p256 = "0485efcb3bb7e8f788f8df5d084f29959143fbe5a7761f0019317361e5fc27a6f9\
                aa14dff90d69ba811f0f8f91ce0acb8e02e90e20b14ef52bd4d83fa67adb4b2e";
    let with = |change: fn(&mut RegisterRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let mut curve = good.clone();
    curve.public_key = p256.into();
    for (request, status, state, words) in [
        (with(|r| r.project_id = Uuid::nil()), StatusCode::NOT_FOUND, "P0002", "project"),
        (with(|r| r.public_key = hex::encode([7; 9])), StatusCode::BAD_REQUEST, "22023", "9 bytes"),
        (
            with(|r| r.public_key = hex::encode([7; 11 * 1024])),
            StatusCode::BAD_REQUEST,
            "22023",
            "11264 bytes",
        ),
        (with(|r| r.public_key = hex::encode([0; 32])), StatusCode::BAD_REQUEST, "22023", "zero"),
        (curve, StatusCode::BAD_REQUEST, "22023", "P256"),
        (with(|r| r.device_name = "a/../b".into()), StatusCode::BAD_REQUEST, "22023", "name"),
        (with(|r| r.role = Some("lighthouse".into())), StatusCode::BAD_REQUEST, "22023", "endpoint"),
    ] {
        let refused = api.refused_post("/api/nebula/register", &request).await?;
        assert_refused(&refused, status, state, &[words]);
    }
    let huge =
        api.post("/api/nebula/register").body(vec![b' '; 70_000]).header("Content-Type", "application/json");
    assert_eq!(refusal(huge.send().await?).await?.status, StatusCode::PAYLOAD_TOO_LARGE);
    let broken = api.post("/api/nebula/register").body("{").header("Content-Type", "application/json");
    assert_eq!(refusal(broken.send().await?).await?.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        refusal(api.get("/api/nebula/status/xyz").send().await?).await?.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(refusal(api.get("/api/nothing").send().await?).await?.status, StatusCode::NOT_FOUND);
    let client = stack.database.connect().await?;
    for table in ["allocation", "device", "certificate", "allocation_log"] {
        let left: i64 = client.query_one(&format!("SELECT count(*) FROM nebula.{table}"), &[]).await?.get(0);
        assert_eq!(left, 0, "nothing is left in {table}");
    }
    Ok(())
}

/// A query, a body or an option that is not understood is refused, since leaving it out means something else.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_route_does_not_know_is_refused() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let bad = StatusCode::BAD_REQUEST;
    for list in
        ["projects", "pools", "devices", "certificates", "jobs", "events", "files", "enrolments", "firewall"]
    {
        let asked = api.get(&format!("/api/{list}?project={}", stack.project)).send().await?;
        assert_refused(&refusal(asked).await?, bad, "22023", &["project"]);
    }
    let name = api.post(&format!("/api/files?projectId={}&name=%ff.txt", stack.project)).body("text");
    assert_refused(&refusal(name.send().await?).await?, bad, "22023", &["UTF-8"]);
    let extra = api.post(&format!("/api/files?projectId={}&name=a.txt&shelf=b", stack.project)).body("text");
    assert_refused(&refusal(extra.send().await?).await?, bad, "22023", &["shelf"]);

    let login = json!([nebula_tests::stack::ADMIN, nebula_tests::stack::PASSWORD]);
    assert_refused(&api.refused_post("/api/auth/login", &login).await?, bad, "22023", &["object"]);
    let project = stack.project;
    for (path, body, words) in [
        (
            "/api/firewall",
            json!({ "projectId": project, "direction": "inbound", "protocol": "tcp", "portFirst": 70000 }),
            "70000",
        ),
        (
            "/api/firewall",
            json!({ "projectId": project, "direction": "inbound", "protocol": "tcp",
            "note": "x".repeat(5000) }),
            "note",
        ),
        (
            "/api/enrolments",
            json!({ "projectId": project, "role": "lighthouse", "endpoints": ["127.0.0.1:4242"] }),
            "loopback",
        ),
        (
            "/api/enrolments",
            json!({ "projectId": project, "endpoints": ["[::ffff:192.0.2.1]:4242"] }),
            "IPv6",
        ),
        ("/api/enrolments", json!({ "projectId": project, "name": "a\u{202e}b" }), "name"),
        // Ignored, this one would open the port to everybody.
        (
            "/api/firewall",
            json!({ "projectId": project, "direction": "inbound", "protocol": "tcp",
            "portFirst": 22, "remoteGroup": ["admins"] }),
            "remoteGroup",
        ),
        ("/api/enrolments", json!({ "projectId": project, "lifetime": 60 }), "lifetime"),
        (
            "/api/routes",
            json!({ "projectId": project, "network": "192.0.2.0/24", "deviceId": project, "mtuu": 1400 }),
            "mtuu",
        ),
        ("/api/auth/refresh", json!({ "refreshToken": "x", "device": {} }), "device"),
    ] {
        assert_refused(&api.refused_post(path, &body).await?, bad, "22023", &[words]);
    }
    let options = format!("/api/projects/{project}/configuration");
    for (changes, words) in [
        (json!({ "mtuu": 1400 }), "mtuu"),
        (json!({ "certificateVersions": 0 }), "certificateVersions"),
        (json!({ "certificateVersions": [] }), "certificateVersions"),
        (json!({ "dnsPort": 4242 }), "4242"),
        (json!(["mtu"]), "object"),
    ] {
        let refused = refusal(api.patch(&options).json(&changes).send().await?).await?;
        assert_refused(&refused, bad, "22023", &[words]);
    }
    Ok(())
}

/// Clients from before this interface, and of others, are not developed together with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_may_have_fields_that_the_gateway_does_not_know() -> Result<()> {
    let stack = Stack::start().await?;
    let device = json!({ "projectId": stack.project, "deviceId": Uuid::new_v4(), "deviceName": "laptop",
                         "publicKey": hex::encode([7; 32]), "platform": "linux" });
    let answer = stack.admin().await?.post("/api/nebula/register").json(&device).send().await?;
    assert_eq!(answer.status(), StatusCode::OK);
    Ok(())
}

/// PostgreSQL keeps numbers and levels of JSON that serde does not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_shown_hides_no_other_and_stops_no_worker() -> Result<()> {
    let stack = Stack::start().await?;
    let client = stack.database.connect().await?;
    let deep =
        "SELECT nebula.enqueue_job(kind, (repeat('[', 500) || repeat(']', 500))::jsonb, max_attempts => 1)
                  FROM unnest('{thumbnail,transcode}'::text[]) kind";
    client.execute(deep, &[]).await?;
    client.execute("SELECT nebula.enqueue_job('thumbnail', '{\"x\": 1e400}')", &[]).await?;
    let _worker = stack.worker("worker", 30)?;
    let api = stack.admin().await?;
    eventually("the worker to give up the job that it cannot read", || async {
        let jobs: serde_json::Value = api.get("/api/jobs").send().await?.error_for_status()?.json().await?;
        let jobs = jobs["data"].as_array().cloned().unwrap_or_default();
        assert_eq!(jobs.len(), 3);
        Ok(jobs.iter().any(|job| job["kind"] == "transcode" && job["state"] == "dead").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_no_http_are_no_errors_of_the_gateway() -> Result<()> {
    let stack = Stack::start().await?;
    let address = stack.url().replace("http://", "");
    for bytes in [
        b"GET / HTTP/9.9\r\n\r\n".as_slice(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET  /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut connection = TcpStream::connect(&address)?;
        connection.write_all(bytes)?;
        connection.shutdown(std::net::Shutdown::Write)?;
        // The end of the stream, or a reset: the gateway has dealt with it.
        let _ = connection.read_to_end(&mut Vec::new());
    }
    let log = fs::read_to_string(stack.log("gateway"))?;
    assert!(!log.contains("ERROR"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_upload_is_refused_and_leaves_no_file() -> Result<()> {
    let stack = Stack::start().await?;
    let api = stack.admin().await?;
    let bad = StatusCode::BAD_REQUEST;
    for (name, bytes, words) in [
        ("notes.mkv", b"Dear diary, this is no film at all.\n".repeat(40), "notes.mkv"),
        ("empty.mkv", Vec::new(), "empty.mkv"),
        ("a/b.mkv", b"x".to_vec(), "name"),
    ] {
        let refused = refusal(api.upload(stack.project, name, bytes).await?).await?;
        assert_refused(&refused, bad, "22023", &[words]);
    }
    let refused = refusal(api.upload(Uuid::nil(), "a.txt", b"text".to_vec()).await?).await?;
    assert_refused(&refused, StatusCode::NOT_FOUND, "P0002", &["project"]);

    // The client disconnects in the middle of its upload.
    let address = stack.url().replace("http://", "");
    let mut broken = TcpStream::connect(&address)?;
    write!(
        broken,
        "POST /api/files?projectId={}&name=lost.bin HTTP/1.1\r\n\
         Host: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 8000000\r\n\r\n{}",
        stack.project,
        api.tokens.access_token,
        "x".repeat(4_000_000)
    )?;
    eventually("the half upload to be on disk", || async { Ok((!stack.stored()?.is_empty()).then_some(())) })
        .await?;
    drop(broken);
    eventually("the half upload to be gone", || async { Ok(stack.stored()?.is_empty().then_some(())) })
        .await?;

    let client = stack.database.connect().await?;
    let left = "SELECT (SELECT count(*) FROM nebula.file) + (SELECT count(*) FROM nebula.job_waiting)";
    assert_eq!(client.query_one(left, &[]).await?.get::<_, i64>(0), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_decoded_fails_with_a_reason() -> Result<()> {
    let stack = Stack::start().await?;
    let _worker = stack.worker("worker", 30)?;
    let api = stack.admin().await?;
    // A valid file header without any content after it.
    let mut hollow = fs::read({
        let path = stack.path("hollow.mkv");
        media::film(&path, FRIENDLY)?;
        path
    })?;
    hollow[200..].fill(0);
    let answer = api.upload(stack.project, "hollow.mkv", hollow).await?;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let file = api.settled("hollow.mkv").await?;
    assert_eq!(file.state, "failed");
    assert!(!file.error.unwrap_or_default().is_empty(), "a reason is given");
    assert_eq!(stack.stored()?.len(), 1, "the upload is kept, nothing else is left");
    Ok(())
}
