//! The second signature of a call, by which the device of a node proves that it has the node's secret
//! ([`nebula_api::node`]). It is checked only after the first one.

use chrono::{DateTime, Utc};
use nebula_signature::{ReadSignature, SignableRequest, SignatureError, digest_fits};
use uuid::Uuid;

use super::Refusal;
use crate::database::Client;
use crate::database::node::{self, NodeSecret};

/// Allowed lengths of a nonce: long enough to be random, short enough to store.
const NONCE_LENGTH: std::ops::RangeInclusive<usize> = 16..=64;

/// The parts of an HTTP request that a signature can cover.
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Names in lower case; values that are no text are `None`.
    pub(crate) headers: Vec<(&'a str, Option<&'a str>)>,
}

impl RequestHead<'_> {
    /// The value of a header that occurs once. RFC 9421 joins several into one list, which no correct client
    /// sends.
    fn single(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|header| header.0 == name);
        values.next().filter(|_| values.next().is_none())?.1
    }
}

/// Checks that a call carries a good signature of its node, if the node has a secret. This uses the call up:
/// the same call is refused afterwards. Answers the secret. Fails with 401 and the code `ERR_NODE_SIGNATURE`.
pub(super) async fn check(
    client: &Client,
    node_id: Uuid,
    head: &RequestHead<'_>,
    body: &[u8],
) -> Result<Option<NodeSecret>, Refusal> {
    let secrets = node::secrets(client, node_id).await?;
    if secrets.is_empty() {
        return Ok(None);
    }
    let known = |key: &str| secrets.iter().find(|secret| secret.key_id.to_string() == key);
    let refuse = |why: &str| Refusal::of_node(&format!("the call is not signed for its node: {why}"));
    let header = |name: &str| head.single(name).ok_or_else(|| refuse(&format!("no header {name}")));
    let (digest, input, signature) =
        (header("content-digest")?, header("signature-input")?, header("signature")?);
    let mut signed = SignableRequest::new(head.method, head.path, "content-digest", digest);
    if let Some((_, Some(host))) = head.headers.iter().find(|header| header.0 == "host") {
        signed = signed.authority(host);
    }
    for (name, value) in &head.headers {
        if let Some(value) = value.filter(|_| *name != "content-digest") {
            signed = signed.field(name, value);
        }
    }
    let signed = ReadSignature::read(&signed, input, signature, |key| known(key).is_some())
        .map_err(|error: SignatureError| refuse(&error.to_string()))?;
    let secret = known(&signed.key_id).ok_or_else(|| refuse("no signature by a known key"))?;
    if !signed.is_by(&secret.bytes) {
        return Err(refuse("the signature is not by its secret"));
    }
    // The signature covers the digest, and the digest covers the body.
    if !digest_fits(digest, body) {
        return Err(refuse("the body is not the one that was signed"));
    }
    let now = Utc::now();
    if signed.expires.is_some_and(|expires| expires < now.timestamp()) {
        return Err(refuse("the signature has expired"));
    }
    if !NONCE_LENGTH.contains(&signed.nonce.len()) {
        return Err(refuse("the nonce must have 16 to 64 characters"));
    }
    let made_at =
        DateTime::from_timestamp(signed.created, 0).ok_or_else(|| refuse("created is not a valid time"))?;
    let accepted = node::accept_call(client, node_id, secret.key_id, &signed.nonce, made_at).await;
    accepted.map_err(Refusal::of_node_call)?;
    Ok(Some(secret.clone()))
}
