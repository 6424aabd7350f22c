//! An independent client of the agent protocol, written from the protocol's text without the gateway's types.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use nebula_certificate::{Certificate, Curve, KeyPair};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::sign::{Signer, Verifier};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

/// The key pairs of one generation.
#[derive(Clone)]
pub(crate) struct Keys {
    curve: Curve,
    host: PKey<Private>,
    nebula: Arc<KeyPair>,
}

impl Keys {
    pub(crate) fn new(curve: Curve) -> Result<Self> {
        let host = match curve {
            Curve::Curve25519 => PKey::generate_ed25519()?,
            Curve::P256 => {
                PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?
            }
        };
        Ok(Self { curve, host, nebula: Arc::new(KeyPair::generate(curve)?) })
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>> {
        Ok(match self.curve {
            Curve::Curve25519 => Signer::new_without_digest(&self.host)?.sign_oneshot_to_vec(text)?,
            Curve::P256 => Signer::new(MessageDigest::sha256(), &self.host)?.sign_oneshot_to_vec(text)?,
        })
    }

    fn host_pem(&self) -> Result<String> {
        let banner = match self.curve {
            Curve::Curve25519 => "DEFINED HOST ED25519 PUBLIC KEY",
            Curve::P256 => "DEFINED HOST P256 PUBLIC KEY",
        };
        let pem = String::from_utf8(self.host.public_key_to_pem()?)?.replace("PUBLIC KEY", banner);
        Ok(BASE64_STANDARD.encode(pem))
    }

    fn nebula_pem(&self) -> String {
        BASE64_STANDARD.encode(self.nebula.public_key().pem())
    }

    pub(crate) fn public_pem(&self) -> String {
        self.nebula.public_key().pem()
    }

    pub(crate) fn private_pem(&self) -> String {
        self.nebula.private_pem().to_string()
    }
}

/// State of an enrolled client.
#[derive(Clone)]
pub(crate) struct Agent {
    url: String,
    http: Client,
    pub(crate) host: String,
    pub(crate) counter: u64,
    pub(crate) keys: Keys,
    trusted: Vec<PKey<Public>>,
    pub(crate) config: String,
    /// The last answer, complete and unchanged.
    pub(crate) seen: Value,
    /// Offset of its clock.
    skew: TimeDelta,
}

/// Body of an enrolment with keys of both curves, for a client that does not know the network's curve.
pub(crate) fn enrolment(code: &str, curve25519: &Keys, p256: &Keys) -> Result<Value> {
    Ok(json!({
        "code": code, "dhPubkey": curve25519.nebula_pem(), "edPubkey": curve25519.host_pem()?,
        "nebulaPubkeyP256": p256.nebula_pem(), "hostPubkeyP256": p256.host_pem()?, "timestamp": Utc::now()
    }))
}

/// Posts without a content type, as existing clients do.
pub(crate) async fn post(url: &str, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
    post_by(&Client::new(), url, path, body).await
}

async fn post_by(http: &Client, url: &str, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
    let answer = http.post(format!("{url}{path}")).body(body.to_string()).send().await?;
    let status = answer.status();
    ensure!(answer.headers().contains_key("x-request-id"), "{path} has no request id");
    Ok((status, serde_json::from_str(&answer.text().await?).context("not JSON")?))
}

/// The one error of a refusal: code and path.
pub(crate) fn error(answer: &Value) -> (String, String) {
    let errors = answer["errors"].as_array().cloned().unwrap_or_default();
    assert_eq!(errors.len(), 1, "exactly one error: {answer}");
    let word = |field: &str| errors[0][field].as_str().unwrap_or_default().to_owned();
    assert!(!word("message").is_empty(), "{answer}");
    (word("code"), word("path"))
}

impl Agent {
    /// Enrols with keys of both curves.
    pub(crate) async fn enroll(url: &str, code: &str) -> Result<Self> {
        Self::enroll_by(Client::new(), url, code).await
    }

    /// Enrols over a shared HTTP client.
    pub(crate) async fn enroll_by(http: Client, url: &str, code: &str) -> Result<Self> {
        let both = [Keys::new(Curve::Curve25519)?, Keys::new(Curve::P256)?];
        let body = enrolment(code, &both[0], &both[1])?;
        Self::enrolled(http, url, &body, both).await
    }

    /// Enrols with a given body, which must succeed.
    pub(crate) async fn enroll_with(url: &str, body: &Value, keys: [Keys; 2]) -> Result<Self> {
        Self::enrolled(Client::new(), url, body, keys).await
    }

    async fn enrolled(http: Client, url: &str, body: &Value, [curve25519, p256]: [Keys; 2]) -> Result<Self> {
        let (status, answer) = post_by(&http, url, "/v2/enroll", body).await?;
        ensure!(status == StatusCode::OK, "{status}: {answer}");
        let data = &answer["data"];
        let keys = match data["network"]["curve"].as_str() {
            Some("25519") => curve25519,
            Some("P256") => p256,
            _ => bail!("no curve: {answer}"),
        };
        ensure!(data["host"]["id"] == data["hostID"] && data["endpointOIDC"].is_null(), "{answer}");
        for (thing, field) in
            [("organization", "id"), ("organization", "name"), ("network", "id"), ("network", "cidr")]
        {
            ensure!(
                data[thing][field].as_str().is_some_and(|text| !text.is_empty()),
                "{thing}.{field}: {answer}"
            );
        }
        Ok(Self {
            url: url.to_owned(),
            http,
            host: data["hostID"].as_str().context("no hostID")?.to_owned(),
            counter: data["counter"].as_u64().context("no counter")?,
            keys,
            trusted: trusted(&bytes(&data["trustedKeys"])?)?,
            config: String::from_utf8(bytes(&data["config"])?)?,
            seen: data.clone(),
            skew: TimeDelta::zero(),
        })
    }

    /// The same device with a clock that is off.
    pub(crate) fn skewed(&self, minutes: i64) -> Self {
        Self { skew: TimeDelta::minutes(minutes), ..self.clone() }
    }

    /// A signed call, which can be sent more than once.
    pub(crate) fn request(&self, kind: &str, value: &Value) -> Result<Value> {
        let timestamp: DateTime<Utc> = Utc::now() + self.skew;
        let value =
            if value.is_null() { Value::Null } else { BASE64_STANDARD.encode(value.to_string()).into() };
        let message = json!({ "type": kind, "value": value, "timestamp": timestamp });
        let message = BASE64_STANDARD.encode(message.to_string());
        let signature = BASE64_STANDARD.encode(self.keys.sign(message.as_bytes())?);
        Ok(json!({
            "version": 1, "hostID": self.host, "counter": self.counter,
            "message": message, "signature": signature
        }))
    }

    /// Sends a call.
    pub(crate) async fn send(&self, request: &Value) -> Result<(StatusCode, Value)> {
        let answer =
            self.http.post(format!("{}/v1/dnclient", self.url)).body(request.to_string()).send().await?;
        let status = answer.status();
        Ok((status, answer.json().await?))
    }

    /// Sends arbitrary bytes as a call, with extra headers.
    pub(crate) async fn send_with(
        &self,
        body: String,
        headers: &[(&str, String)],
    ) -> Result<(StatusCode, Value)> {
        let request = self.http.post(format!("{}/v1/dnclient", self.url)).body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let answer = request.send().await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// A call that must succeed; its data.
    pub(crate) async fn call(&self, kind: &str, value: &Value) -> Result<Value> {
        let (status, answer) = self.send(&self.request(kind, value)?).await?;
        ensure!(status == StatusCode::OK, "{kind}: {status}: {answer}");
        Ok(answer["data"].clone())
    }

    /// The status of a call that must fail.
    pub(crate) async fn refused(&self, kind: &str, value: &Value) -> Result<StatusCode> {
        let (status, answer) = self.send(&self.request(kind, value)?).await?;
        ensure!(status != StatusCode::OK, "{kind} was taken: {answer}");
        error(&answer);
        Ok(status)
    }

    pub(crate) async fn update_available(&self) -> Result<bool> {
        self.call("CheckForUpdate", &Value::Null).await?["updateAvailable"]
            .as_bool()
            .context("no updateAvailable")
    }

    /// The action that ends a long poll.
    pub(crate) async fn wait(&self, actions: &[&str]) -> Result<String> {
        let answer = self.call("LongPollWait", &json!({ "supportedActions": actions })).await?;
        Ok(answer["action"].as_str().context("no action")?.to_owned())
    }

    /// Value of an update with the keys that are used afterwards.
    pub(crate) fn keys_value(&self, kind: &str, next: &Keys, nonce: &[u8]) -> Result<Value> {
        let nebula = if kind == "DoUpdate" { next.nebula_pem().into() } else { Value::Null };
        let host: Value = next.host_pem()?.into();
        let nonce = BASE64_STANDARD.encode(nonce);
        Ok(match next.curve {
            Curve::Curve25519 => json!({
                "edPubkeyPEM": host, "dhPubkeyPEM": nebula, "p256HostPubkeyPEM": null,
                "p256NebulaPubkeyPEM": null, "nonce": nonce
            }),
            Curve::P256 => {
                json!({ "p256HostPubkeyPEM": host, "p256NebulaPubkeyPEM": nebula, "nonce": nonce })
            }
        })
    }

    /// Sends `DoUpdate` or `DoConfigUpdate`, makes every check of a client, and answers the client's new
    /// state. `self` stays as it is, so that a test can lose the answer.
    pub(crate) async fn fetch(&self, kind: &str) -> Result<Self> {
        let mut next = Keys::new(self.keys.curve)?;
        if kind == "DoConfigUpdate" {
            next.nebula = Arc::clone(&self.keys.nebula);
        }
        let nonce = uuid::Uuid::new_v4().into_bytes();
        let data = self.call(kind, &self.keys_value(kind, &next, &nonce)?).await?;
        let answer = self.verified(&data, &nonce)?;
        let counter = answer["counter"].as_u64().context("no counter")?;
        ensure!(counter > self.counter, "counter {counter} after {}", self.counter);
        Ok(Self {
            counter,
            keys: next,
            trusted: trusted(&bytes(&answer["trustedKeys"])?)?,
            config: String::from_utf8(bytes(&answer["config"])?)?,
            seen: answer,
            ..self.clone()
        })
    }

    /// The message of a signed answer, once a trusted key has signed it and the nonce is right.
    pub(crate) fn verified(&self, data: &Value, nonce: &[u8]) -> Result<Value> {
        ensure!(data["version"] == 1, "{data}");
        let (message, signature) = (bytes(&data["message"])?, bytes(&data["signature"])?);
        let good = |key: &PKey<Public>| {
            let mut verifier = match key.id() {
                Id::ED25519 => Verifier::new_without_digest(key)?,
                _ => Verifier::new(MessageDigest::sha256(), key)?,
            };
            verifier.verify_oneshot(&signature, &message)
        };
        ensure!(self.trusted.iter().any(|key| good(key).unwrap_or(false)), "nobody trusted signed this");
        let answer: Value = serde_json::from_slice(&message)?;
        ensure!(bytes(&answer["nonce"])? == nonce, "another nonce");
        Ok(answer)
    }

    /// The certificates of its configuration.
    pub(crate) fn certificates(&self) -> Result<Vec<Certificate>> {
        let line =
            self.config.lines().find_map(|line| line.strip_prefix("  cert: ")).context("no pki.cert")?;
        let pem: String = serde_json::from_str(line)?;
        let certificates = Certificate::parse(&pem)?;
        for certificate in &certificates {
            ensure!(
                certificate.details().public_key == self.keys.nebula.public_key().bytes(),
                "of another key"
            );
        }
        Ok(certificates)
    }

    /// Fingerprints on its blocklist.
    pub(crate) fn blocklist(&self) -> Result<Vec<String>> {
        let line = self
            .config
            .lines()
            .find_map(|line| line.strip_prefix("  blocklist: "))
            .context("no blocklist")?;
        Ok(serde_json::from_str(line)?)
    }
}

fn bytes(value: &Value) -> Result<Vec<u8>> {
    Ok(BASE64_STANDARD.decode(value.as_str().context("no base64")?)?)
}

/// Public keys in nebula's PEM for authorities.
fn trusted(pem: &[u8]) -> Result<Vec<PKey<Public>>> {
    let text = std::str::from_utf8(pem)?;
    let keys = text.split_inclusive("PUBLIC KEY-----\n").collect::<Vec<_>>();
    let keys = keys.chunks(2).map(|pair| {
        let body: String =
            pair.iter().flat_map(|part| part.lines()).filter(|line| !line.starts_with("---")).collect();
        let raw = BASE64_STANDARD.decode(body)?;
        if pair.concat().contains("NEBULA ED25519 PUBLIC KEY") && raw.len() == 32 {
            return Ok(PKey::public_key_from_raw_bytes(&raw, Id::ED25519)?);
        }
        ensure!(pair.concat().contains("NEBULA ECDSA P256 PUBLIC KEY") && raw.len() == 65, "{text}");
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let point = EcPoint::from_bytes(&group, &raw, &mut *openssl::bn::BigNumContext::new()?)?;
        Ok(PKey::from_ec_key(EcKey::from_public_key(&group, &point)?)?)
    });
    keys.collect()
}
