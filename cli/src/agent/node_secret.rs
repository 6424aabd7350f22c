//! The secret of the node that this device represents. It is read for each call, so that a running agent uses
//! a new one at once.

use std::path::Path;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use nebula_api::node::NewSecret;
use nebula_signature::{SignableRequest, SignatureError, digest, seal, sign};
use openssl::rand::rand_bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::state;
use crate::atomic_file::{self, PRIVATE};
use crate::error::{Code, Doing, Error, Result};

const FILE: &str = "node.json";
const SECRET_BYTES: usize = 32;

/// The secret and its identifiers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeSecret {
    node_id: Uuid,
    key_id: Uuid,
    secret: Zeroizing<String>,
}

impl NodeSecret {
    /// Reads the secret of the device in this folder, if there is one.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>> {
        state::read(&folder.join(FILE))
    }

    /// Stores a secret, replacing an earlier one.
    pub(crate) fn save(folder: &Path, made: NewSecret) -> Result<()> {
        let secret = Self { node_id: made.node_id, key_id: made.key_id, secret: made.secret.into() };
        if secret.bytes().is_none() {
            return Err(Error::new(Code::InvalidArgument, "the secret is not 32 bytes in base64")
                .hint("Make one: nebulactl --json node secret make NODE"));
        }
        let path = folder.join(FILE);
        let text = serde_json::to_vec_pretty(&secret).map_err(std::io::Error::from);
        atomic_file::write_atomic(
            &path,
            &Zeroizing::new(text.doing(|| format!("write {}", path.display()))?),
            PRIVATE,
        )
    }

    /// The headers that sign a call.
    pub(super) fn sign(&self, method: &str, path: &str, body: &[u8]) -> Result<[(&'static str, String); 3]> {
        let damaged = |what: &str| {
            Error::new(Code::Damaged, format!("{FILE} in the device's folder {what}"))
                .hint("Give it the newest one: nebulactl node secret keep")
        };
        let bytes = self.bytes().ok_or_else(|| damaged("holds no secret"))?;
        let mut nonce = [0; 16];
        rand_bytes(&mut nonce)
            .map_err(|error| Error::new(Code::Io, format!("cannot make a nonce: {error}")))?;
        let signed = || -> std::result::Result<_, SignatureError> {
            let digest = digest(body)?;
            let request = SignableRequest::new(method, path, "content-digest", &digest);
            let key_id = self.key_id.to_string();
            let secret = nebula_signature::Secret { key_id: &key_id, bytes: &bytes };
            let headers = sign(&request, &secret, Utc::now().timestamp(), &hex::encode(nonce))?;
            Ok((digest, headers))
        };
        let (digest, headers) = signed().map_err(|fault| damaged(&format!("cannot sign: {fault}")))?;
        Ok([("content-digest", digest), ("signature-input", headers.input), ("signature", headers.signature)])
    }

    /// Opens the preshared key of a peer, in base64 as it came. `with` is the secret that it names.
    pub(super) fn open_preshared(
        &self,
        with: Uuid,
        peer_id: Uuid,
        sealed: &str,
    ) -> Result<Zeroizing<String>> {
        let unusable = |why: &str| {
            let detail = format!("the preshared key of peer {peer_id} cannot be opened: {why}");
            Error::new(Code::Protocol, detail).hint("It is sent again with the next call.")
        };
        if with != self.key_id {
            return Err(unusable("it is sealed with another secret than this node has"));
        }
        let sealed = STANDARD.decode(sealed).map_err(|_| unusable("it is not base64"))?;
        let secret = self.bytes().ok_or_else(|| unusable("this node has no secret"))?;
        let opened = seal::open(&secret, peer_id.as_bytes(), &sealed);
        let key = Zeroizing::new(opened.map_err(|error| unusable(&error.to_string()))?);
        Ok(STANDARD.encode(key.as_slice()).into())
    }

    fn bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = Zeroizing::new(STANDARD.decode(self.secret.as_bytes()).ok()?);
        (bytes.len() == SECRET_BYTES).then_some(bytes)
    }
}

/// When a secret was last stored in this folder.
pub(super) fn changed_at(folder: &Path) -> Option<SystemTime> {
    folder.join(FILE).metadata().ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn made(secret: &str) -> NewSecret {
        NewSecret { node_id: Uuid::nil(), key_id: Uuid::max(), secret: secret.to_owned() }
    }

    #[test]
    fn a_stored_secret_is_private_and_replaceable() {
        let folder = tempfile::tempdir().unwrap();
        assert!(NodeSecret::read(folder.path()).unwrap().is_none());
        for byte in [1, 2] {
            NodeSecret::save(folder.path(), made(&STANDARD.encode([byte; 32]))).unwrap();
            let read = NodeSecret::read(folder.path()).unwrap().unwrap();
            assert_eq!(read.bytes().unwrap().as_slice(), [byte; 32]);
        }
        let mode = folder.path().join(FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for wrong in ["", "AAAA", "not base64"] {
            assert!(NodeSecret::save(folder.path(), made(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(NodeSecret::read(folder.path()).unwrap().unwrap().bytes().unwrap()[0], 2);
    }

    #[test]
    fn a_preshared_key_opens_only_for_its_peer_and_with_the_secret_that_it_names() {
        let secret =
            NodeSecret { node_id: Uuid::nil(), key_id: Uuid::max(), secret: STANDARD.encode([7; 32]).into() };
        let peer_id = Uuid::from_u128(5);
        let sealed = STANDARD.encode(seal::seal(&[7; 32], peer_id.as_bytes(), &[9; 32]).unwrap());
        let open = |with, peer_id, sealed: &str| secret.open_preshared(with, peer_id, sealed);
        assert_eq!(*open(Uuid::max(), peer_id, &sealed).unwrap(), STANDARD.encode([9; 32]));
        assert!(open(Uuid::nil(), peer_id, &sealed).is_err());
        assert!(open(Uuid::max(), Uuid::nil(), &sealed).is_err());
        assert!(open(Uuid::max(), peer_id, "AAAA").is_err());
    }

    #[test]
    fn each_signature_has_a_new_nonce() {
        let secret =
            NodeSecret { node_id: Uuid::nil(), key_id: Uuid::max(), secret: STANDARD.encode([7; 32]).into() };
        let [one, other] = [(); 2].map(|()| secret.sign("POST", "/v1/dnclient", b"{}").unwrap());
        assert_eq!(one[0], other[0]);
        assert_ne!(one[1], other[1]);
        assert_ne!(one[2], other[2]);
    }
}
