//! People of each role, and objects for the calls: a new one for each call, so that none meets what another has left.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nebula_tests::api::{Api, data};
use nebula_tests::stack::{ADMIN, PASSWORD, Stack};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::ROLES;
use super::calls::Call;

/// A session of each role.
pub(super) struct People {
    apis: HashMap<&'static str, (Api, Uuid)>,
    project: Uuid,
    admin: Client,
    made: u32,
}

impl People {
    pub(super) async fn new(stack: &Stack) -> Result<Self> {
        let admin = stack.database.connect().await?;
        let mut apis = HashMap::new();
        for role in ROLES {
            let name = if role == "operator" { ADMIN.to_owned() } else { format!("one-{role}") };
            let api = match role {
                "operator" => stack.admin().await?,
                _ => stack.member(&name).await?,
            };
            match role {
                "stranger" => {
                    admin.execute("SELECT nebula.remove_member($1, $2)", &[&stack.project, &name]).await?;
                }
                "operator" => {}
                role => {
                    admin
                        .execute("SELECT nebula.add_member($1, $2, $3)", &[&stack.project, &name, &role])
                        .await?;
                }
            }
            let sql = "SELECT account_id FROM nebula.account WHERE username = $1";
            let account = admin.query_one(sql, &[&name]).await?.get(0);
            apis.insert(role, (api, account));
        }
        Ok(Self { apis, project: stack.project, admin, made: 0 })
    }

    pub(super) fn of(&self, role: &str) -> Result<&Api> {
        Ok(&self.apis.get(role).with_context(|| format!("nobody is {role}"))?.0)
    }

    /// The call as somebody of a role makes it, about an object that was made for it.
    pub(super) async fn request(&mut self, call: &Call, role: &str) -> Result<RequestBuilder> {
        self.made += 1;
        let unique = Uuid::new_v4();
        let account = self.apis.get(role).context("a role")?.1;
        let object = self.object(call.object, role, account, unique).await?;
        let hex = format!("{}{}", unique.simple(), Uuid::new_v4().simple());
        let key = BASE64_STANDARD.encode([unique.into_bytes(), Uuid::new_v4().into_bytes()].concat());
        let network = format!("198.18.{}.{}/32", self.made / 256, self.made % 256);
        let cidr = self.cidr();
        let fill = |text: &str| {
            text.replace("$project", &self.project.to_string())
                .replace("$uuid", &unique.to_string())
                .replace("$password", PASSWORD)
                .replace("$network", &network)
                .replace("$cidr", &cidr)
                .replace("$hex", &hex)
                .replace("$key", &key)
                .replace("$id", &object)
        };
        let (method, path) = call.route.split_once(' ').context("no method")?;
        let path = path
            .replace("{projectId}", &self.project.to_string())
            .replace("{name}", "wg0")
            .replace("{subject}", "project")
            .replace("{variant}", "v480")
            .replace("{subtitle}", "subtitle-0")
            .replace("{chunk}", "0")
            .replace("{segment}", "0")
            .replace("{sheet}", "0");
        let path = ["{id}", "{deviceId}", "{nodeId}", "{peerId}", "{rule}", "{fingerprint}"]
            .iter()
            .fold(path, |path, parameter| path.replace(parameter, &object));
        let api = self.of(role)?;
        let mut request =
            api.request(Method::from_bytes(method.as_bytes())?, &format!("{path}?{}", fill(call.query)));
        if path.starts_with("/api/uploads") {
            request = request
                .header("Tus-Resumable", "1.0.0")
                .header("Upload-Length", "5")
                .header("Upload-Offset", "0");
            let part = |name: &str, value: &str| format!("{name} {}", BASE64_STANDARD.encode(value));
            let parts = [part("projectId", &self.project.to_string()), part("filename", &unique.to_string())];
            request = request.header("Upload-Metadata", parts.join(","));
            if method == "PATCH" {
                request = request.header("Content-Type", "application/offset+octet-stream").body("bytes");
            }
        } else if call.body == "bytes" {
            request = request.body(unique.to_string());
        } else if !call.body.is_empty() {
            request = request.header("Content-Type", "application/json").body(fill(call.body));
        }
        Ok(request)
    }

    /// Makes an object of a kind; answers how the path names it.
    async fn object(&self, kind: &str, role: &str, account: Uuid, id: Uuid) -> Result<String> {
        let (project, text) = (self.project, id.to_string());
        let owner = self.apis.get("owner").context("a role")?.1;
        let name = &text[..8];
        let file = format!(
            "SELECT file_id::text FROM nebula.create_file('{owner}', '{id}', '{project}', '{{folder}}', '{id}', 1,
                                                          sha256('{id}'), 'text/plain', 'files/{id}/original', false)"
        );
        let device = format!(
            "SELECT '{id}' FROM nebula.register_devices(NULL, '{project}',
               ARRAY[ROW('{id}', '{owner}', '{id}', 'host', '{{}}', '25519', sha256('{id}'), NULL, NULL)]::nebula.new_device[])"
        );
        let node = format!("SELECT nebula.register_node('{name}', '192.0.2.1:51820')::text");
        let sql = match kind {
            "" => return Ok(String::new()),
            "project" => return Ok(project.to_string()),
            "upload" => return Ok(text),
            "peer" => return self.peer(role, &text).await,
            "stored file" => return self.stored_file(&text).await,
            "pool" => return self.pool(&text).await,
            "pool number" => format!(
                "SELECT pool_id::text FROM nebula.pool WHERE project_id = '{project}' ORDER BY pool_id LIMIT 1"
            ),
            "account" => format!("SELECT nebula.create_account('{name}', '$argon2id$x')::text"),
            "account name" => format!("SELECT '{name}' FROM nebula.create_account('{name}', '$argon2id$x')"),
            "member" => format!(
                "WITH made AS MATERIALIZED (SELECT nebula.create_account('{name}', '$argon2id$x') AS id)
                 SELECT m.id::text FROM made m, nebula.set_member('{project}', m.id, 'viewer', 'story')"
            ),
            "authenticator" => format!(
                "WITH made AS MATERIALIZED (SELECT nebula.create_account('{name}', '$argon2id$x') AS id)
                 INSERT INTO nebula.totp (account_id, sealed_secret, confirmed_at)
                 SELECT id, decode(repeat('00', 48), 'hex'), now() FROM made RETURNING account_id::text"
            ),
            "token" => format!(
                "SELECT token_id::text FROM nebula.create_personal_token('{account}', '{id}', sha256('{id}'), '{{read}}', '1 d')"
            ),
            "session" => format!("SELECT nebula.open_session('{account}', sha256('{id}'), '1 h')::text"),
            "invitation" => format!("SELECT invitation_id::text FROM nebula.invite('{project}')"),
            "enrolment" => format!("SELECT enrolment_id::text FROM nebula.create_enrolment('{project}')"),
            "rule" => format!("SELECT nebula.add_rule('{project}', 'inbound', note => '{id}')::text"),
            "device" => device,
            "revoked device" => {
                self.one(&device).await?;
                format!("SELECT '{id}' FROM nebula.revoke_device('{id}')")
            }
            "certificate" | "device with certificate" => {
                self.one(&device).await?;
                let named = if kind == "certificate" { "encode(fingerprint, 'hex')" } else { "device_id::text" };
                format!(
                    "INSERT INTO nebula.certificate (fingerprint, project_id, device_id, version, curve, networks, groups,
                                                     public_key, issuer, not_before, not_after, pem)
                     VALUES (sha256('{id}'), '{project}', '{id}', 1, '25519', '{{10.99.0.1/24}}', '{{}}', sha256('{id}'),
                             sha256('ca'), now(), now() + interval '1 day', '')
                     RETURNING {named}"
                )
            }
            "route" => {
                self.one(&device).await?;
                let network = format!("198.19.{}.{}/32", self.made / 256, self.made % 256);
                format!("SELECT '{network}' FROM nebula.add_route('{project}', '{network}', '{id}')")
            }
            "node" => node,
            "node with secrets" => format!(
                "SELECT n.id FROM ({node}) AS n(id), nebula.make_node_secret(n.id::uuid) a,
                                  nebula.make_node_secret(n.id::uuid) b"
            ),
            "job" => format!("SELECT nebula.enqueue_job('story', '{{}}', project_id => '{project}')::text"),
            "cancelled job" => format!(
                "SELECT j.id FROM (SELECT nebula.enqueue_job('story', '{{}}', project_id => '{project}')::text) AS j(id),
                                  nebula.cancel_job(j.id::bigint)"
            ),
            "file" => file.replace("{folder}", ""),
            "folder" => file.replace("{folder}", name).replacen("file_id::text", &format!("'{name}'"), 1),
            "trashed file" => {
                self.one(&file.replace("{folder}", "")).await?;
                format!("SELECT '{id}' FROM nebula.trash_file('{owner}', '{id}')")
            }
            "share" => {
                self.one(&file.replace("{folder}", "")).await?;
                format!("SELECT nebula.create_share('{owner}', '{id}', sha256('{id}'))::text")
            }
            other => bail!("there is no kind {other:?}"),
        };
        self.one(&sql).await
    }

    async fn one(&self, sql: &str) -> Result<String> {
        let row = self.admin.query_one(sql, &[]).await.with_context(|| sql.to_owned())?;
        Ok(row.get(0))
    }

    /// A peer of the caller or, if the caller may have none, of the operator.
    async fn peer(&self, role: &str, name: &str) -> Result<String> {
        let owner = if ["stranger", "viewer"].contains(&role) { "operator" } else { role };
        let key = BASE64_STANDARD.encode([Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat());
        let peers = json!([{ "name": name, "publicKey": key }]);
        let body = json!({ "projectId": self.project, "strategy": "local", "peers": peers });
        let made: Value = data(self.of(owner)?.post("/api/peers").json(&body).send().await?).await?;
        Ok(made[0]["peer"]["peerId"].as_str().with_context(|| made.to_string())?.to_owned())
    }

    /// A range that no other pool has.
    fn cidr(&self) -> String {
        format!("10.99.{}.{}/28", 128 + self.made / 16, self.made % 16 * 16)
    }

    async fn pool(&self, name: &str) -> Result<String> {
        let body = json!({ "projectId": self.project, "name": name, "cidr": self.cidr() });
        data::<Value>(self.of("operator")?.post("/api/pools").json(&body).send().await?).await?;
        Ok(name.to_owned())
    }

    /// A file whose bytes are there.
    async fn stored_file(&self, name: &str) -> Result<String> {
        let answer = self.of("owner")?.upload(self.project, name, name.as_bytes().to_vec()).await?;
        let made: Value = data(answer).await?;
        Ok(made["fileId"].as_str().with_context(|| made.to_string())?.to_owned())
    }
}
