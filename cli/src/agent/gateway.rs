//! Calls of the agent protocol: signed with the device's key; responses are accepted only with the signature
//! of a trusted authority.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use nebula_api::agent::{DeviceAddresses, FindDevice, FoundDevice, Instruction, Report};
use nebula_api::dnapi::{
    Action, ApiErrors, CLOCK_TOLERANCE, Call, Data, EnrollRequest, Enrollment, KeyUpdate, LongPollAnswer,
    LongPollWait, Message, SignedAnswer, Update, VERSION, kind,
};
use nebula_api::node::NODE_SIGNATURE;
use nebula_api::node_sync::{NodeReport, NodeState};
use reqwest::header::{CONTENT_TYPE, DATE};
use reqwest::{Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::Credential;
use super::node_secret::NodeSecret;
use crate::client::{self, root_cause};
use crate::error::{Code, Error, Result};

/// For all calls except the long poll.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The gateway holds a long poll for up to 90 seconds.
const LONG_POLL_TIMEOUT: Duration = Duration::from_secs(120);
/// A configuration with a long blocklist stays far below this size.
const MAX_RESPONSE_BYTES: usize = 16 << 20;
/// How far the latest timestamp stays within the gateway's tolerance: for the time on the way, and for the
/// gateway's date, which has whole seconds only.
const TIMESTAMP_MARGIN: TimeDelta = TimeDelta::seconds(10);

/// The gateway's API for agents.
pub(crate) struct Gateway {
    http: reqwest::Client,
    server: String,
    /// The device's folder, which holds the node secret if this device represents a node.
    folder: PathBuf,
    /// Timestamp of the last call. The gateway accepts only growing timestamps, each once.
    last: Mutex<DateTime<Utc>>,
}

impl Gateway {
    /// A client of the gateway at this URL, for the device in this folder.
    pub(crate) fn new(server: &str, folder: &Path) -> Result<Self> {
        Ok(Self {
            http: client::http(server)?,
            server: server.to_owned(),
            folder: folder.to_owned(),
            last: Mutex::new(DateTime::UNIX_EPOCH),
        })
    }

    /// Enrols a device with a code.
    pub(crate) async fn enrol(&self, request: &EnrollRequest) -> Result<Enrollment> {
        let body = serde_json::to_vec(request).map_err(|error| serialize_failed(&error))?;
        let response = self.post("/v2/enroll", body, REQUEST_TIMEOUT, &[]).await?;
        Ok(read::<Data<Enrollment>>(accept(response).await?).await?.data)
    }

    /// Waits until there is something to do, for at most 90 seconds.
    pub(crate) async fn long_poll(&self, credential: &Credential) -> Result<Action> {
        let value = LongPollWait { supported_actions: vec!["DoUpdate".into(), "DoConfigUpdate".into()] };
        let response = self.call(credential, kind::LONG_POLL_WAIT, Some(&value), LONG_POLL_TIMEOUT).await?;
        Ok(read::<Data<LongPollAnswer>>(response).await?.data.action)
    }

    /// Fetches a new configuration for new keys; `kind` says whether the certificate is new, too. The
    /// response must be signed, answer this request, and be newer than the configuration in use.
    pub(crate) async fn update(
        &self,
        credential: &Credential,
        kind: &str,
        keys: &KeyUpdate,
    ) -> Result<Update> {
        let response = self.call(credential, kind, Some(keys), REQUEST_TIMEOUT).await?;
        let update: Update = signed(credential, response).await?;
        if update.nonce != keys.nonce {
            return Err(rejected("it answers another request"));
        }
        if update.counter <= credential.counter {
            return Err(rejected("it is older than the configuration in use"));
        }
        Ok(update)
    }

    /// Reports the state of the device.
    pub(crate) async fn status(&self, credential: &Credential, report: &Report) -> Result<Instruction> {
        let response = self.call(credential, kind::STATUS, Some(report), REQUEST_TIMEOUT).await?;
        let instruction: Instruction = signed(credential, response).await?;
        if instruction.nonce != report.nonce {
            return Err(rejected("it answers another request"));
        }
        Ok(instruction)
    }

    /// Reports the interfaces of a node and learns how they are wanted: at once if that differs, else when it
    /// changes or the report's `wait` is over. Preshared keys in the result are plain.
    pub(super) async fn sync_node(&self, credential: &Credential, report: &NodeReport) -> Result<NodeState> {
        // The one that signs the call, since the answer is sealed with that.
        let secret = NodeSecret::read(&self.folder)?;
        let timeout = REQUEST_TIMEOUT + Duration::from_secs(report.wait.into());
        let response = self.call(credential, kind::SYNC_NODE, Some(report), timeout).await?;
        let mut state: NodeState = signed(credential, response).await?;
        if state.nonce != report.nonce {
            return Err(rejected("it answers another request"));
        }
        if let Some(with) = state.sealed_with.take() {
            let secret = secret.ok_or_else(|| rejected("it is sealed, and this node has no secret"))?;
            for peer in state.interfaces.iter_mut().flat_map(|interface| &mut interface.peers) {
                if let Some(sealed) = &peer.preshared_key {
                    let opened = secret.open_preshared(with, peer.peer_id, sealed)?;
                    peer.preshared_key = Some(opened.as_str().to_owned());
                }
            }
        }
        Ok(state)
    }

    /// Asks for another device of the project by name.
    pub(crate) async fn find_device(
        &self,
        credential: &Credential,
        wanted: &FindDevice,
    ) -> Result<Option<DeviceAddresses>> {
        let response = self.call(credential, kind::FIND_DEVICE, Some(wanted), REQUEST_TIMEOUT).await?;
        let found: FoundDevice = signed(credential, response).await?;
        if found.nonce != wanted.nonce {
            return Err(rejected("it answers another request"));
        }
        Ok(found.device)
    }

    /// Tells the gateway that this device leaves the network.
    pub(crate) async fn leave(&self, credential: &Credential) -> Result<()> {
        self.call(credential, kind::LEAVE, None::<&()>, REQUEST_TIMEOUT).await.map(drop)
    }

    /// Makes a signed call. A refused one is made once more with a later timestamp: while this machine's
    /// clock was ahead, the gateway may have accepted a call from what is the future now.
    async fn call(
        &self,
        credential: &Credential,
        kind: &str,
        value: Option<&impl Serialize>,
        timeout: Duration,
    ) -> Result<Response> {
        let value = value.map(|value| serde_json::to_vec(value).map_err(|error| serialize_failed(&error)));
        let mut message = Message {
            kind: kind.to_owned(),
            value: value.transpose()?.unwrap_or_default(),
            timestamp: self.timestamp(Utc::now()),
        };
        let response = self.send(credential, &message, timeout).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return accept(response).await;
        }
        let refused = unauthorized(response).await;
        if !refused.may_be_overtaken {
            return Err(refused.error);
        }
        message.timestamp = self.latest_timestamp(refused.gateway_time);
        let response = self.send(credential, &message, timeout).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(unauthorized(response).await.error);
        }
        accept(response).await
    }

    /// Signs and posts a call.
    async fn send(&self, credential: &Credential, message: &Message, timeout: Duration) -> Result<Response> {
        let message = STANDARD.encode(serde_json::to_vec(message).map_err(|error| serialize_failed(&error))?);
        let call = Call {
            version: VERSION,
            host_id: credential.host_id.clone(),
            counter: credential.counter,
            signature: credential.key.sign(message.as_bytes())?,
            message,
        };
        let body = serde_json::to_vec(&call).map_err(|error| serialize_failed(&error))?;
        let signature = match NodeSecret::read(&self.folder)? {
            Some(secret) => secret.sign("POST", self.url("/v1/dnclient")?.path(), &body)?.to_vec(),
            None => Vec::new(),
        };
        self.post("/v1/dnclient", body, timeout, &signature).await
    }

    fn url(&self, path: &str) -> Result<Url> {
        Url::parse(&format!("{}{path}", self.server))
            .map_err(|error| Error::new(Code::Damaged, format!("{} is no server: {error}", self.server)))
    }

    async fn post(
        &self,
        path: &str,
        body: Vec<u8>,
        timeout: Duration,
        headers: &[(&str, String)],
    ) -> Result<Response> {
        let request = self.http.post(self.url(path)?).body(body).timeout(timeout);
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        request.send().await.map_err(|error| {
            let reason = if error.is_timeout() { "no answer in time".to_owned() } else { root_cause(&error) };
            Error::new(Code::Unreachable, format!("cannot reach {}: {reason}", self.server))
                .hint("Is the gateway up, and is this its address? join takes another one as --server URL.")
        })
    }

    /// A timestamp later than all before, even when the clock was set back. Microseconds, as in the database.
    fn timestamp(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = now.trunc_subsecs(6).max(*last + TimeDelta::microseconds(1));
        *last
    }

    /// The latest timestamp that the gateway accepts, less a margin for the way. It is later than that of
    /// every call that the gateway has accepted longer ago than the margin, and replaces one from the future.
    fn latest_timestamp(&self, gateway_time: DateTime<Utc>) -> DateTime<Utc> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (gateway_time + TimeDelta::seconds(CLOCK_TOLERANCE) - TIMESTAMP_MARGIN).trunc_subsecs(6);
        *last
    }
}

/// Reads a signed response.
async fn signed<T: DeserializeOwned>(credential: &Credential, response: Response) -> Result<T> {
    verified(credential, &read::<Data<SignedAnswer>>(response).await?.data)
}

fn verified<T: DeserializeOwned>(credential: &Credential, answer: &SignedAnswer) -> Result<T> {
    if answer.version != VERSION || !credential.trusted.verify(&answer.message, &answer.signature) {
        return Err(rejected("no authority that this device trusts has signed it"));
    }
    serde_json::from_slice(&answer.message).map_err(|_| rejected("it is not what this nebulactl understands"))
}

async fn accept(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let mut error = match read::<ApiErrors>(response).await {
        Ok(ApiErrors { errors }) if !errors.is_empty() => {
            let sentences: Vec<String> = errors.into_iter().map(|error| error.message).collect();
            Error::new(Code::Refused, sentences.join(" "))
        }
        _ => Error::new(Code::Protocol, format!("the gateway answered {status}"))
            .hint("Is this a pg_nebula gateway? Look at --server, or at the proxy in front of it."),
    };
    error.status = Some(status.as_u16());
    Err(error)
}

async fn read<T: DeserializeOwned>(mut response: Response) -> Result<T> {
    let mut bytes = Vec::new();
    let broken = |error: &reqwest::Error| {
        Error::new(Code::Unreachable, format!("the gateway's answer broke off: {}", root_cause(error)))
    };
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        if bytes.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(rejected("it is larger than any configuration"));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).map_err(|_| rejected("it is not what this nebulactl understands"))
}

/// A call answered by status 401.
struct Unauthorized {
    error: Error,
    gateway_time: DateTime<Utc>,
    /// Whether an earlier call with a later timestamp may be the reason, which a later timestamp heals.
    may_be_overtaken: bool,
}

/// The reason for status 401. The gateway does not name it, but the date of its response shows whether the
/// clock of this machine is wrong.
async fn unauthorized(response: Response) -> Unauthorized {
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let theirs = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let gateway_time = theirs.map_or_else(Utc::now, |theirs| theirs.to_utc());
    let skew = (Utc::now() - gateway_time).num_seconds();
    let errors = read::<ApiErrors>(response).await.map(|body| body.errors).unwrap_or_default();
    let node_error = errors.iter().find(|error| error.code == NODE_SIGNATURE);
    let is_clock_wrong = skew.abs() >= CLOCK_TOLERANCE;
    let mut error = if is_clock_wrong {
        Error::new(Code::NotSignedIn, format!("the gateway refuses this device: its clock is {skew} s off"))
            .hint("Set the clock by NTP: timedatectl set-ntp true")
    } else if let Some(node_error) = node_error {
        Error::new(Code::NotSignedIn, node_error.message.clone())
    } else {
        let detail = "the gateway does not accept this device's key: it was revoked, or has left";
        Error::new(Code::NotSignedIn, detail)
            .hint("With a new code it can join again: nebulactl leave, then nebulactl join --code CODE")
    };
    error.status = Some(StatusCode::UNAUTHORIZED.as_u16());
    Unauthorized { error, gateway_time, may_be_overtaken: !is_clock_wrong && node_error.is_none() }
}

fn rejected(why: &str) -> Error {
    Error::new(Code::Protocol, format!("the gateway's answer is not used: {why}"))
}

fn serialize_failed(error: &serde_json::Error) -> Error {
    Error::new(Code::Io, format!("cannot write a call: {error}"))
}

#[cfg(test)]
mod tests {
    use nebula_certificate::Curve;

    use super::*;
    use crate::agent::keys::tests::authority_pem;
    use crate::agent::keys::{HostKey, TrustedKeys};

    #[test]
    fn only_responses_signed_by_a_trusted_authority_are_accepted() {
        let [authority, stranger] = [(); 2].map(|()| HostKey::generate(Curve::Curve25519).unwrap());
        let credential = Credential {
            host_id: "device".to_owned(),
            counter: 1,
            key: HostKey::generate(Curve::Curve25519).unwrap(),
            trusted: TrustedKeys::parse(&authority_pem(&authority)).unwrap(),
        };
        let message = br#"{"counter":2}"#.to_vec();
        let answer = |key: &HostKey| SignedAnswer {
            version: VERSION,
            message: message.clone(),
            signature: key.sign(&message).unwrap(),
        };
        let good = answer(&authority);
        let value: serde_json::Value = verified(&credential, &good).unwrap();
        assert_eq!(value["counter"], 2);
        let forged = SignedAnswer { message: br#"{"counter":9}"#.to_vec(), ..good.clone() };
        let unsigned = SignedAnswer { signature: Vec::new(), ..good.clone() };
        let other = SignedAnswer { version: 2, ..good };
        for wrong in [answer(&stranger), answer(&credential.key), forged, unsigned, other] {
            let error = verified::<serde_json::Value>(&credential, &wrong).unwrap_err();
            assert!(error.to_string().contains("trusts"), "{error}");
        }
    }

    #[test]
    fn timestamps_grow_even_when_the_clock_is_set_back() {
        let gateway = Gateway::new("http://127.0.0.1:1", Path::new("/nowhere")).unwrap();
        let now = Utc::now();
        let first = gateway.timestamp(now);
        let same = gateway.timestamp(now);
        let set_back = gateway.timestamp(now - TimeDelta::hours(1));
        assert!(first < same && same < set_back);
        assert_eq!((set_back - first).num_microseconds(), Some(2));
        assert_eq!(first, first.trunc_subsecs(6));
    }

    #[test]
    fn a_timestamp_from_the_future_does_not_outlast_a_refusal() {
        let gateway = Gateway::new("http://127.0.0.1:1", Path::new("/nowhere")).unwrap();
        let now = Utc::now();
        let ahead = gateway.timestamp(now + TimeDelta::hours(1));
        assert!(gateway.timestamp(now) > ahead, "the clock was put right, and the timestamps grow on");
        let tolerance = TimeDelta::seconds(CLOCK_TOLERANCE);
        let latest = gateway.latest_timestamp(now);
        assert!(latest < now + tolerance && latest > now + tolerance / 2);
        let next = gateway.timestamp(now);
        assert!(next > latest && next < now + tolerance);
    }
}
