//! HTTP Message Signatures of requests (RFC 9421) by `hmac-sha256`, with the body under a `Content-Digest`
//! (RFC 9530).
//!
//! The agent of a node signs its calls twice: with the key of its device, and with a secret that it shares
//! with the gateway:
//!
//! ```
//! # use nebula_signature::{SignableRequest, Secret, ReadSignature, digest, sign};
//! # fn main() -> Result<(), nebula_signature::SignatureError> {
//! let (body, secret) = (b"{}", [7; 32]);
//! let digest = digest(body)?;
//! let request = SignableRequest::new("POST", "/v1/dnclient", "content-digest", &digest);
//! let secret_of_node = Secret { key_id: "k1", bytes: &secret };
//! let headers = sign(&request, &secret_of_node, 1_790_000_000, "a-nonce-of-ours-1")?;
//!
//! let signed = ReadSignature::read(&request, &headers.input, &headers.signature, |key| key == "k1")?;
//! assert!(signed.is_by(&secret) && !signed.is_by(&[8; 32]));
//! # Ok(())
//! # }
//! ```
//!
//! `sfv` reads and writes structured fields. This crate decides which lines of a request are signed, and in
//! which order. The order of parameters is the signer's, as the RFC demands. No clock, no network.
//!
//! The same secret seals what the gateway sends to the node alone: [`seal`].

use openssl::hash::{MessageDigest, hash};
use openssl::memcmp;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use sfv::{DictSerializer, KeyRef, StringRef};

mod base;
mod read;
pub mod seal;

pub use base::SignableRequest;
pub use read::{ReadSignature, digest_fits};

/// The components that our own requests cover. A signature that covers less is refused.
pub const COVERED: [&str; 3] = ["@method", "@path", "content-digest"];
/// The only algorithm.
pub const ALGORITHM: &str = "hmac-sha256";
/// The label of the signature in both headers.
const LABEL: &str = "node";

/// Why a request cannot be signed, or its signature is refused. Messages never contain a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is not the expected kind of structured field.
    #[error("{0} is not a valid structured field")]
    Malformed(&'static str),
    /// No signature names a known key.
    #[error("no signature by a known key")]
    UnknownKey,
    /// The signature does not cover a required component.
    #[error("the signature does not cover {0}")]
    Uncovered(&'static str),
    /// The signature covers a component that the request lacks, or that is not supported.
    #[error("the signature covers {0}, which cannot be looked up here")]
    Unsupported(String),
    /// A parameter is missing or invalid.
    #[error("the signature has no good parameter {0}")]
    Parameter(&'static str),
    /// OpenSSL failed.
    #[error("cannot compute a signature")]
    Cryptography,
}

/// A shared secret and its identifier.
#[derive(Clone, Copy)]
pub struct Secret<'a> {
    /// Sent in the header.
    pub key_id: &'a str,
    /// Never sent.
    pub bytes: &'a [u8],
}

/// The headers of a signed request, beside that of [`digest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// Value of `Signature-Input`.
    pub input: String,
    /// Value of `Signature`.
    pub signature: String,
}

/// Value of `Content-Digest` for a body.
///
/// # Errors
/// [`SignatureError::Cryptography`].
pub fn digest(body: &[u8]) -> Result<String, SignatureError> {
    let digest = hash(MessageDigest::sha256(), body).map_err(|_| SignatureError::Cryptography)?;
    let mut field = DictSerializer::new();
    field.bare_item(key("sha-256"), &digest[..]);
    field.finish().ok_or(SignatureError::Cryptography)
}

/// Signs [`COVERED`] of a request made at `created` (Unix time). `nonce` must differ from that of every other
/// request.
///
/// # Errors
/// [`SignatureError::Unsupported`] for a request without one of these, [`SignatureError::Parameter`] for a
/// key or nonce that is not printable ASCII.
pub fn sign(
    request: &SignableRequest<'_>,
    secret: &Secret<'_>,
    created: i64,
    nonce: &str,
) -> Result<Headers, SignatureError> {
    let text = |value, name| StringRef::from_str(value).map_err(|_| SignatureError::Parameter(name));
    let created = sfv::Integer::try_from(created).map_err(|_| SignatureError::Parameter("created"))?;
    let mut input = DictSerializer::new();
    let mut list = input.inner_list(key(LABEL));
    for name in COVERED {
        list.bare_item(text(name, "name")?);
    }
    list.finish()
        .parameter(key("created"), created)
        .parameter(key("nonce"), text(nonce, "nonce")?)
        .parameter(key("keyid"), text(secret.key_id, "keyid")?)
        .parameter(key("alg"), text(ALGORITHM, "alg")?);
    let input = input.finish().ok_or(SignatureError::Parameter("name"))?;
    let parameters = &input[LABEL.len() + 1..];
    let mac = mac(secret.bytes, request.base(COVERED.into_iter(), parameters)?.as_bytes())?;
    let mut signature = DictSerializer::new();
    signature.bare_item(key(LABEL), &mac[..]);
    Ok(Headers { input, signature: signature.finish().ok_or(SignatureError::Cryptography)? })
}

/// A constant key of a dictionary.
fn key(text: &'static str) -> &'static KeyRef {
    KeyRef::constant(text)
}

fn mac(secret: &[u8], text: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let compute = || {
        let key = PKey::hmac(secret)?;
        Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(text)
    };
    compute().map_err(|_| SignatureError::Cryptography)
}

/// Compares in constant time.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && memcmp::eq(one, other)
}

#[cfg(test)]
mod tests;
