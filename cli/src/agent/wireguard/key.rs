//! Keys of WireGuard: 32 bytes, in base64 as all its programs write them.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey};
use zeroize::Zeroizing;

use crate::atomic_file::{self, PRIVATE};
use crate::error::{Code, Error, Result};

pub(super) const KEY_BYTES: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    pub(super) fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// `None` unless the text is the base64 of 32 bytes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// WireGuard takes it, and it is nobody's.
    pub(super) fn is_zero(&self) -> bool {
        self.0 == [0; KEY_BYTES]
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A private or a preshared key. Without `Debug`, so that it cannot be logged.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SecretKey(Zeroizing<[u8; KEY_BYTES]>);

impl SecretKey {
    pub(super) fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// `None` unless the text is the base64 of 32 bytes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        let bytes: [u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
        Some(Self::new(bytes))
    }

    /// WireGuard writes zeros where there is no key.
    pub(super) fn present(bytes: [u8; KEY_BYTES]) -> Option<Self> {
        (bytes != [0; KEY_BYTES]).then(|| Self::new(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The public key that belongs to a private one.
    pub(super) fn public(&self) -> Result<PublicKey> {
        let derived = PKey::private_key_from_raw_bytes(self.bytes(), Id::X25519)
            .and_then(|key| key.raw_public_key())
            .map_err(|error| failed("derive the public key of an interface", &error))?;
        let bytes = derived.try_into().map_err(|_| Error::new(Code::Io, "a public key has 32 bytes"))?;
        Ok(PublicKey(bytes))
    }

    /// Reads the private key of an interface, and makes it first if there is none.
    pub(super) fn load_or_create(path: &Path) -> Result<Self> {
        if let Some(text) = atomic_file::read_if_exists(path)?.map(Zeroizing::new) {
            return Self::parse(&text).ok_or_else(|| {
                Error::new(Code::Damaged, format!("{} holds no key", path.display())).hint(
                    "Put the right one back; without it, remove the file, and every peer needs a new .conf.",
                )
            });
        }
        let bytes = PKey::generate_x25519()
            .and_then(|key| key.raw_private_key())
            .map(Zeroizing::new)
            .map_err(|error| failed("make a private key", &error))?;
        let text = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
        atomic_file::create_new(path, text.as_bytes(), PRIVATE)?;
        Self::parse(&text).ok_or_else(|| Error::new(Code::Io, "a private key has 32 bytes"))
    }
}

fn failed(what: &str, error: &ErrorStack) -> Error {
    Error::new(Code::Io, format!("cannot {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_key_is_made_once_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = SecretKey::load_or_create(&path).unwrap();
        assert!(SecretKey::load_or_create(&path).unwrap() == made);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "AAAA").unwrap();
        let error = SecretKey::load_or_create(&path).map(drop).unwrap_err();
        assert!(error.to_string().contains("holds no key"), "{error}");
    }

    #[test]
    fn the_public_key_is_the_one_that_wg_derives() {
        // From `wg pubkey`.
        let private = SecretKey::parse("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=").unwrap();
        assert_eq!(private.public().unwrap().to_string(), "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=");
    }

    #[test]
    fn only_32_bytes_in_base64_are_a_key() {
        let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert!(PublicKey::parse(zero).unwrap().is_zero());
        for wrong in ["", "AAAA", &zero[1..], "not base64", &format!("{zero}\n")] {
            assert!(PublicKey::parse(wrong).is_none(), "{wrong}");
        }
        assert!(SecretKey::present([0; 32]).is_none() && SecretKey::present([1; 32]).is_some());
    }
}
