//! The second signature of a call, by which the device of a node proves that it has the node's secret
//! ([`nebula_api::node`]). It is looked at only once the first one is good.

use actix_web::HttpRequest;
use chrono::{DateTime, Utc};
use nebula_signature::{Fault, Request, Signed, digest_fits};
use uuid::Uuid;

use super::Refusal;
use crate::database::{Client, node};

/// Lengths of a nonce: enough to be random, little enough to keep.
const NONCE: std::ops::RangeInclusive<usize> = 16..=64;

/// Whether a call carries a good signature of its node, if that has a secret. The call is used up by this: the same
/// again is refused, whatever becomes of it.
///
/// # Errors
/// 401 with the code `ERR_NODE_SIGNATURE`.
pub(super) async fn check(
    client: &Client,
    node_id: Uuid,
    request: &HttpRequest,
    body: &[u8],
) -> Result<(), Refusal> {
    let secrets = node::secrets(client, node_id).await?;
    if secrets.is_empty() {
        return Ok(());
    }
    let known = |key: &str| secrets.iter().find(|(key_id, _)| key_id.to_string() == key);
    let refuse = |why: &str| Refusal::of_node(&format!("the call is not signed for its node: {why}"));
    let header = |name: &str| {
        let mut values = request.headers().get_all(name);
        // More than one would be one list to the RFC; nobody honest splits them.
        let value = values.next().filter(|_| values.next().is_none());
        value.and_then(|value| value.to_str().ok()).ok_or_else(|| refuse(&format!("no header {name}")))
    };
    let (digest, input, signature) =
        (header("content-digest")?, header("signature-input")?, header("signature")?);
    let mut signed = Request::new(request.method().as_str(), request.path(), "content-digest", digest);
    if let Some(host) = request.headers().get("host").and_then(|host| host.to_str().ok()) {
        signed = signed.authority(host);
    }
    for (name, value) in request.headers() {
        if name.as_str() != "content-digest"
            && let Ok(value) = value.to_str()
        {
            signed = signed.field(name.as_str(), value);
        }
    }
    let signed = Signed::read(&signed, input, signature, |key| known(key).is_some())
        .map_err(|fault: Fault| refuse(&fault.to_string()))?;
    let (key_id, secret) = known(&signed.key_id).ok_or_else(|| refuse("no signature by a known key"))?;
    if !signed.is_by(secret) {
        return Err(refuse("the signature is not by its secret"));
    }
    // The signature is over the digest, and the digest over the body.
    if !digest_fits(digest, body) {
        return Err(refuse("the body is not the one that was signed"));
    }
    let now = Utc::now();
    if signed.expires.is_some_and(|expires| expires < now.timestamp()) {
        return Err(refuse("the signature has expired"));
    }
    if !NONCE.contains(&signed.nonce.len()) {
        return Err(refuse("the nonce has not 16 to 64 characters"));
    }
    let made_at = DateTime::from_timestamp(signed.created, 0).ok_or_else(|| refuse("created is no time"))?;
    let accepted = node::accept_call(client, node_id, *key_id, &signed.nonce, made_at).await;
    accepted.map_err(Refusal::of_node_call)
}
