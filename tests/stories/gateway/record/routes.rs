//! All routes that change something.

use nebula_api::device::RegisterRequest;
use nebula_tests::api::data;
use nebula_tests::stack::PASSWORD;

use super::*;
use crate::peers::fake_node::{FakeNode, key};

/// Routes without an event of an account, and why.
const OTHERS: [(&str, &str); 26] = [
    ("POST /api/auth/refresh", "the session goes on"),
    ("PUT /api/files/{id}/bookmark", "a place in a film, for its own account"),
    ("DELETE /api/files/{id}/bookmark", "a place in a film, for its own account"),
    ("POST /api/files/{id}/link", "a link for a while with the rights of the caller, kept nowhere"),
    ("POST /api/files/{id}/playback", "asks how a film would be played"),
    ("POST /api/files/{id}/hls/seek", "changes an order of work"),
    ("POST /api/access/preview", "asks what rules would change"),
    ("POST /api/shares/open", "a visitor asks for a link"),
    ("PUT /api/files/{id}/conversion", "needs a conversion that failed: stories of media"),
    ("POST /api/uploads", "the file that it becomes is recorded"),
    ("PATCH /api/uploads/{id}", "the file that it becomes is recorded"),
    ("DELETE /api/uploads/{id}", "no file has come of it"),
    ("POST /api/invitations/show", "a visitor asks for what the code is"),
    ("POST /api/invitations/accept", "a visitor becomes an account: stories of accounts"),
    ("POST /api/invitations/join", "needs the code of another account: stories of accounts"),
    ("POST /api/account/totp", "begins what PUT confirms"),
    ("PUT /api/account/totp", "needs a second factor: stories of accounts"),
    ("POST /api/account/totp/end", "needs a second factor: stories of accounts"),
    ("DELETE /api/accounts/{id}/totp", "needs a second factor: stories of accounts"),
    ("POST /v2/enroll", "a device enrols: stories of dnapi"),
    ("POST /v1/dnclient", "a device calls: stories of dnapi"),
    ("POST /v1/endpoint-auth/preauth", "asks for a code that somebody has to approve"),
    ("POST /api/enrolments/approve", "as POST /api/enrolments, for a device that waits: stories of dnapi"),
    ("POST /api/rotations", "needs a second authority: stories of authority"),
    ("POST /api/rotations/{projectId}/force", "needs a second authority: stories of authority"),
    ("POST /api/rotations/{projectId}/cancel", "needs a second authority: stories of authority"),
];

async fn accounts(to: &mut Recorder) -> Result<()> {
    let login = json!({"username": "anna", "password": PASSWORD});
    let sign_in = || reqwest::Client::new().post(format!("{}/api/auth/login", to.base)).json(&login);
    let (first, second, third) = (sign_in(), sign_in(), sign_in());
    to.sent("POST /api/auth/login", first, "", "account login", "anna").await?;
    let session: Value = second.send().await?.json().await?;
    let body = json!({"refreshToken": session["refreshToken"]});
    let logout = reqwest::Client::new().post(format!("{}/api/auth/logout", to.base)).json(&body);
    to.sent("POST /api/auth/logout", logout, "", "account logout", "anna").await?;
    third.send().await?;
    let anna = to.value("SELECT account_id FROM nebula.account WHERE username = 'anna'").await?;
    let session = "SELECT session_id FROM nebula.session s JOIN nebula.account USING (account_id)
                    WHERE username = 'anna' AND s.ended_at IS NULL LIMIT 1";
    let session = to.value(session).await?;
    to.leaves(
        "DELETE /api/sessions/{id}",
        &format!("/api/sessions/{session}"),
        NOTHING,
        "account end-session",
    )
    .await?;
    Api::login(&to.base, "admin", PASSWORD).await?;
    to.leaves("DELETE /api/sessions", "/api/sessions", NOTHING, "account end-session").await?;

    let wanted = json!({"name": "ci", "scopes": ["read"]});
    let tokens = "/api/account/tokens";
    let made = to.leaves("POST /api/account/tokens", tokens, wanted, "account create-token").await?;
    let token = made["data"]["tokenId"].as_str().with_context(|| made.to_string())?.to_owned();
    let path = format!("{tokens}/{token}");
    to.leaves("DELETE /api/account/tokens/{id}", &path, NOTHING, "account end-token").await?;

    let members = format!("/api/projects/{}/members", to.project);
    let member = json!({"username": "anna", "role": "admin"});
    to.leaves("PUT /api/projects/{projectId}/members", &members, member, "account add-member").await?;
    let path = format!("{members}/{anna}");
    let route = "DELETE /api/projects/{projectId}/members/{id}";
    to.leaves(route, &path, NOTHING, "account remove-member").await?;
    let path = format!("/api/quotas/account/{anna}");
    let quota = json!({"maxBytes": 1_000_000});
    to.leaves("PUT /api/quotas/{subject}/{id}", &path, quota, "account set-quota").await?;
    let path = format!("/api/accounts/{anna}");
    to.leaves("PATCH /api/accounts/{id}", &path, json!({"disabled": true}), "account disable").await?;
    to.leaves("DELETE /api/accounts/{id}", &path, NOTHING, "account delete").await?;
    Ok(())
}

async fn invitations(to: &mut Recorder) -> Result<()> {
    let path = format!("/api/projects/{}/invitations", to.project);
    let route = "POST /api/projects/{projectId}/invitations";
    let invitation = to.leaves(route, &path, json!({"role": "viewer"}), "invitation invite").await?;
    let path = format!(
        "/api/invitations/{}",
        invitation["data"]["invitationId"].as_str().with_context(|| invitation.to_string())?
    );
    to.leaves("DELETE /api/invitations/{id}", &path, NOTHING, "invitation revoke").await?;
    let path = "/api/invitations";
    to.leaves("POST /api/invitations", path, json!({"role": "member"}), "invitation invite").await?;
    let password = json!({"oldPassword": PASSWORD, "newPassword": "seven green bottles, hanging"});
    to.leaves("PUT /api/account/password", "/api/account/password", password, "account set-password").await?;
    Ok(())
}

async fn register(to: &mut Recorder, name: &str) -> Result<Uuid> {
    let request = RegisterRequest {
        project_id: to.project,
        device_id: Uuid::new_v4(),
        device_name: name.to_owned(),
        public_key: hex::encode(rand::random::<[u8; 32]>()),
        role: None,
        endpoints: vec![],
        enrolment_code: None,
    };
    let id = request.device_id;
    let body = serde_json::to_value(request)?;
    to.leaves("POST /api/nebula/register", "/api/nebula/register", body, "device register").await?;
    Ok(id)
}

async fn devices(to: &mut Recorder) -> Result<()> {
    let device = register(to, "laptop").await?;
    let path = format!("/api/devices/{device}/groups");
    to.leaves("PUT /api/devices/{deviceId}/groups", &path, json!({"groups": ["web"]}), "device set-groups")
        .await?;
    let path = format!("/api/projects/{}/configuration", to.project);
    let options = json!({"mtu": 1400});
    to.leaves("PATCH /api/projects/{projectId}/configuration", &path, options, "project configure").await?;
    let change =
        "SELECT detail::text FROM nebula.event WHERE action = 'configure' ORDER BY event_id DESC LIMIT 1";
    let change = to.value(change).await?;
    assert!(
        change.contains(r#""after": {"mtu": 1400}"#) && change.contains(r#""before": {"mtu": "#),
        "{change}"
    );

    let route = json!({"projectId": to.project, "deviceId": device, "network": "192.168.7.0/24"});
    to.leaves("POST /api/routes", "/api/routes", route, "device add-route").await?;
    let path = format!("/api/routes?projectId={}&network=192.168.7.0/24", to.project);
    // The event names the device, which the request does not.
    to.accounts += &device.to_string();
    to.leaves("DELETE /api/routes", &path, NOTHING, "device drop-route").await?;
    let rule = json!({"projectId": to.project, "direction": "inbound", "protocol": "tcp", "note": "web"});
    let rule = to.leaves("POST /api/firewall", "/api/firewall", rule, "rule create").await?;
    let path = format!("/api/firewall/{}", rule["data"]["ruleId"]);
    to.leaves("DELETE /api/firewall/{rule}", &path, NOTHING, "rule drop").await?;

    let code = json!({"projectId": to.project, "role": "host"});
    let code = to.leaves("POST /api/enrolments", "/api/enrolments", code, "enrolment create").await?;
    let path = format!("/api/enrolments/{}", code["data"]["enrolmentId"].as_str().context("no identifier")?);
    to.leaves("DELETE /api/enrolments/{id}", &path, NOTHING, "enrolment revoke").await?;
    let fingerprint = to.value("SELECT encode(fingerprint, 'hex') FROM nebula.certificate LIMIT 1").await?;
    let path = format!("/api/certificates/{fingerprint}/revoke");
    to.leaves("POST /api/certificates/{fingerprint}/revoke", &path, NOTHING, "certificate revoke").await?;
    let path = format!("/api/devices/{device}/revoke");
    to.leaves("POST /api/devices/{deviceId}/revoke", &path, NOTHING, "device revoke").await?;
    let device = register(to, "desktop").await?;
    let path = format!("/api/nebula/release/{device}");
    to.leaves("POST /api/nebula/release/{deviceId}", &path, NOTHING, "device release").await?;
    Ok(())
}

async fn projects(to: &mut Recorder) -> Result<()> {
    let project = json!({"name": "lab", "cidr": "10.50.0.0/16", "pool": "10.50.0.0/24"});
    let project = to.leaves("POST /api/projects", "/api/projects", project, "project create").await?;
    let project = project["data"]["projectId"].as_str().with_context(|| project.to_string())?.to_owned();
    let pool = json!({"projectId": project, "name": "second", "cidr": "10.50.1.0/24"});
    to.leaves("POST /api/pools", "/api/pools", pool, "pool create").await?;
    to.accounts += &to.value("SELECT string_agg(pool_id::text, ' ') FROM nebula.pool").await?;
    let path = format!("/api/pools?projectId={project}&name=second");
    to.leaves("PATCH /api/pools", &path, json!({"enabled": false}), "pool disable").await?;
    to.leaves("DELETE /api/pools", &path, NOTHING, "pool drop").await?;
    Ok(())
}

async fn nodes(to: &mut Recorder, stack: &Stack) -> Result<()> {
    let node = json!({"name": "attic", "endpoint": "attic.example:51820"});
    let node = to.leaves("POST /api/nodes", "/api/nodes", node, "node register").await?;
    let node = format!("/api/nodes/{}", node["data"]["nodeId"].as_str().context("no identifier")?);
    let device = register(to, "server").await?;
    let tie = json!({ "deviceId": device });
    to.leaves("PUT /api/nodes/{nodeId}/device", &format!("{node}/device"), tie, "node tie").await?;
    to.leaves("PATCH /api/nodes/{nodeId}", &node, json!({"weight": 50}), "node update").await?;
    let interface = format!("{node}/interfaces/wg7");
    let body = json!({"listenPort": 51999, "endpoint": "attic.example:51999"});
    let route = "PUT /api/nodes/{nodeId}/interfaces/{name}";
    to.leaves(route, &interface, body, "node set-interface").await?;
    let route = "DELETE /api/nodes/{nodeId}/interfaces/{name}";
    to.leaves(route, &interface, NOTHING, "node drop-interface").await?;
    let secret = format!("{node}/secret");
    let made = to.leaves("POST /api/nodes/{nodeId}/secret", &secret, NOTHING, "node make-secret").await?;
    let path = format!("{secret}?keyId={}", made["data"]["keyId"].as_str().context("no key")?);
    to.leaves("DELETE /api/nodes/{nodeId}/secret", &path, NOTHING, "node retire-secret").await?;
    to.leaves("DELETE /api/nodes/{nodeId}", &node, NOTHING, "node remove").await?;
    let local = format!("SELECT nebula.set_local_device('{}', NULL)", to.project);
    to.accounts += &to.value(&local).await?;
    let path = format!("/api/projects/{}/local-device", to.project);
    let local = json!({ "deviceId": device });
    to.leaves("PUT /api/projects/{projectId}/local-device", &path, local, "node tie").await?;

    for name in ["one", "two"] {
        FakeNode::new(stack, &to.admin, name).await?;
    }
    let mut create = async |name: &str| -> Result<String> {
        let peers = json!({"projectId": to.project, "peers": [{"name": name, "publicKey": key()}]});
        let made = to.leaves("POST /api/peers", "/api/peers", peers, "peer create").await?;
        Ok(made["data"][0]["peer"]["peerId"].as_str().with_context(|| made.to_string())?.to_owned())
    };
    let (phone, tablet) = (create("phone").await?, create("tablet").await?);
    let path = format!("/api/peers/{phone}");
    to.leaves("PATCH /api/peers/{peerId}", &path, json!({"name": "telephone"}), "peer update").await?;
    let on = format!("SELECT node FROM nebula.peer_status WHERE peer_id = '{phone}'");
    let other = if to.value(&on).await? == "one" { "two" } else { "one" };
    let body = json!({"peerIds": [phone], "strategy": other});
    to.leaves("POST /api/peers/move", "/api/peers/move", body, "peer move").await?;
    let path = format!("/api/peers/{phone}/move");
    to.leaves("DELETE /api/peers/{peerId}/move", &path, NOTHING, "peer cancel-move").await?;
    let body = json!({ "peerIds": [tablet] });
    to.leaves("POST /api/peers/remove", "/api/peers/remove", body, "peer remove").await?;
    let path = format!("/api/peers/{phone}");
    to.leaves("DELETE /api/peers/{peerId}", &path, NOTHING, "peer remove").await?;
    Ok(())
}

async fn files(to: &mut Recorder) -> Result<()> {
    let project = to.project;
    let mut upload = async |name: &str, folder: &str| -> Result<String> {
        let url = format!("{}/api/files?projectId={project}&name={name}&folder={folder}", to.base);
        let request = reqwest::Client::new().post(url).bearer_auth(&to.admin.tokens.access_token);
        let file = to.sent("POST /api/files", request.body("text"), "", "file upload", "admin").await?;
        Ok(file["data"]["fileId"].as_str().with_context(|| file.to_string())?.to_owned())
    };
    let (file, _other) = (upload("a.txt", "one").await?, upload("b.txt", "two").await?);
    let path = format!("/api/files/{file}");
    to.leaves("PATCH /api/files/{id}", &path, json!({"name": "c.txt"}), "file move").await?;
    let tags = format!("{path}/tags");
    to.leaves("PUT /api/files/{id}/tags", &tags, json!({"tags": ["x"]}), "file tag").await?;
    let share = json!({ "fileId": file });
    let share = to.leaves("POST /api/shares", "/api/shares", share, "file share").await?;
    let share = share["data"]["shareId"].as_str().with_context(|| share.to_string())?.to_owned();
    to.accounts += &file;
    to.leaves("DELETE /api/shares/{id}", &format!("/api/shares/{share}"), NOTHING, "file revoke-share")
        .await?;
    to.leaves("DELETE /api/files/{id}", &path, NOTHING, "file trash").await?;
    let trashed = format!("/api/trash/{file}");
    let restore = format!("{trashed}/restore");
    to.leaves("POST /api/trash/{id}/restore", &restore, json!({}), "file restore").await?;
    to.leaves("DELETE /api/files/{id}", &path, NOTHING, "file trash").await?;
    to.leaves("DELETE /api/trash/{id}", &trashed, NOTHING, "file delete").await?;
    let body = json!({"projectId": project, "folder": "two", "to": "three"});
    to.leaves("POST /api/folders/move", "/api/folders/move", body, "folder move").await?;
    let path = format!("/api/folders?projectId={project}&folder=three");
    to.accounts += &to.value("SELECT string_agg(file_id::text, ' ') FROM nebula.file").await?;
    to.leaves("DELETE /api/folders", &path, NOTHING, "file trash").await?;
    let path = format!("/api/trash?projectId={project}");
    to.leaves("DELETE /api/trash", &path, NOTHING, "file delete").await?;

    let film = format!("SELECT nebula.enqueue_job('story', '{{}}', project_id => '{project}')");
    let job = to.value(&film).await?;
    let path = format!("/api/jobs/{job}");
    to.leaves("POST /api/jobs/{id}/cancel", &format!("{path}/cancel"), NOTHING, "job cancel").await?;
    to.leaves("POST /api/jobs/{id}/retry", &format!("{path}/retry"), NOTHING, "job retry").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_that_changes_something_leaves_an_event_with_account_object_address_and_request()
-> Result<()> {
    let stack = Stack::start().await?;
    let mut to = Recorder::new(&stack).await?;
    devices(&mut to).await?;
    projects(&mut to).await?;
    nodes(&mut to, &stack).await?;
    files(&mut to).await?;
    accounts(&mut to).await?;
    invitations(&mut to).await?;

    let document: Value = good(to.admin.get("/openapi.json").send().await?).await?.json().await?;
    let paths = document["paths"].as_object().context("no paths")?;
    let changing = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let routes = paths.iter().flat_map(|(path, item)| {
        let methods = changing.iter().filter(|method| item.get(method.as_str().to_lowercase()).is_some());
        methods.map(move |method| format!("{method} {path}"))
    });
    let known = |route: &String| to.covered.contains(route) || OTHERS.iter().any(|(other, _)| other == route);
    let missing: Vec<_> = routes.filter(|route| !known(route)).collect();
    assert!(missing.is_empty(), "which event do these leave? {missing:#?}");
    // None is both tried and excused.
    let both: Vec<_> = OTHERS.iter().filter(|(route, _)| to.covered.contains(*route)).collect();
    assert!(both.is_empty(), "{both:?}");
    let _: Vec<Event> = data(to.admin.get("/api/events?max=1000").send().await?).await?;
    Ok(())
}
