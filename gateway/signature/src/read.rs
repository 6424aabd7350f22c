//! Reading signatures. Nothing that was read may be trusted before [`ReadSignature::is_by`] answers true.

use openssl::hash::{MessageDigest, hash};
use sfv::{Dictionary, FieldType, InnerList, ListEntry, Parser};

use crate::{ALGORITHM, COVERED, SignableRequest, SignatureError, is_same, mac};

/// Components that a signature may cover; a usual one covers a handful.
const MAX_COMPONENTS: usize = 16;

/// A signature that was read, with its parameters.
#[derive(Debug, Clone)]
pub struct ReadSignature {
    /// Identifier of the secret.
    pub key_id: String,
    /// Unix time.
    pub created: i64,
    /// Unix time after which the signature is not valid.
    pub expires: Option<i64>,
    /// Differs for every signature.
    pub nonce: String,
    base: String,
    signature: Vec<u8>,
}

impl ReadSignature {
    /// The first signature by a known key, from the headers `Signature-Input` and `Signature`.
    ///
    /// # Errors
    /// Every [`SignatureError`] but the last, also for a signature that covers less than [`COVERED`], names
    /// another algorithm, or lacks its time or nonce.
    pub fn read(
        request: &SignableRequest<'_>,
        input: &str,
        signature: &str,
        knows: impl Fn(&str) -> bool,
    ) -> Result<Self, SignatureError> {
        let inputs = dictionary(input, "Signature-Input")?;
        let signatures = dictionary(signature, "Signature")?;
        let named = inputs.iter().find_map(|(label, entry)| match entry {
            ListEntry::InnerList(list) => {
                text(list, "keyid").filter(|key| knows(key)).map(|key| (label, list, key))
            }
            ListEntry::Item(_) => None,
        });
        let (label, list, key_id) = named.ok_or(SignatureError::UnknownKey)?;
        let signature = match signatures.get(label) {
            Some(ListEntry::Item(item)) => item.bare_item.as_byte_sequence(),
            _ => None,
        };
        let signature = signature.ok_or(SignatureError::Malformed("Signature"))?.to_vec();
        if list.params.contains_key("alg") && text(list, "alg") != Some(ALGORITHM) {
            return Err(SignatureError::Parameter("alg"));
        }
        let covered = covered(list)?;
        let number = |name| list.params.get(name).map(|value| value.as_integer().map(i64::from));
        let parameters = vec![ListEntry::InnerList(list.clone())].serialize();
        Ok(Self {
            key_id: key_id.to_owned(),
            created: number("created").flatten().ok_or(SignatureError::Parameter("created"))?,
            // An unreadable time must not count as absent.
            expires: number("expires")
                .map(|number| number.ok_or(SignatureError::Parameter("expires")))
                .transpose()?,
            nonce: text(list, "nonce").ok_or(SignatureError::Parameter("nonce"))?.to_owned(),
            base: request.base(covered.into_iter(), &parameters.unwrap_or_default())?,
            signature,
        })
    }

    /// Whether the signature was made with this secret.
    #[must_use]
    pub fn is_by(&self, secret: &[u8]) -> bool {
        mac(secret, self.base.as_bytes()).is_ok_and(|mac| is_same(&mac, &self.signature))
    }
}

/// Whether the header `Content-Digest` has the SHA-256 of this body; other digests in it are ignored.
#[must_use]
pub fn digest_fits(field: &str, body: &[u8]) -> bool {
    let Ok(digests) = dictionary(field, "Content-Digest") else { return false };
    let Some(ListEntry::Item(item)) = digests.get("sha-256") else { return false };
    let Ok(digest) = hash(MessageDigest::sha256(), body) else { return false };
    item.bare_item.as_byte_sequence().is_some_and(|declared| is_same(declared, &digest))
}

fn covered(list: &InnerList) -> Result<Vec<&str>, SignatureError> {
    if list.items.len() > MAX_COMPONENTS {
        return Err(SignatureError::Malformed("Signature-Input"));
    }
    let mut covered: Vec<&str> = Vec::new();
    for item in &list.items {
        let name = item.bare_item.as_string().ok_or(SignatureError::Malformed("Signature-Input"))?.as_str();
        // Parameters select a part of a field, a trailer, or a field of another message, which are not
        // supported.
        if !item.params.is_empty() {
            return Err(SignatureError::Unsupported(name.to_owned()));
        }
        if covered.contains(&name) {
            return Err(SignatureError::Malformed("Signature-Input"));
        }
        covered.push(name);
    }
    match COVERED.into_iter().find(|name| !covered.contains(name)) {
        Some(missing) => Err(SignatureError::Uncovered(missing)),
        None => Ok(covered),
    }
}

fn text<'a>(list: &'a InnerList, name: &str) -> Option<&'a str> {
    list.params.get(name)?.as_string().map(sfv::StringRef::as_str)
}

fn dictionary(field: &str, name: &'static str) -> Result<Dictionary, SignatureError> {
    Parser::new(field).parse().map_err(|_| SignatureError::Malformed(name))
}
