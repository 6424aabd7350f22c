//! How and where the keys of authorities are kept.

use std::fs;
use std::path::{Path, PathBuf};

use nebula_certificate::Zeroizing;

/// How a key is kept.
#[derive(Clone)]
pub(super) enum KeyForm {
    Plain,
    /// In a file, under a passphrase.
    Encrypted(Zeroizing<String>),
    /// In the token of this `pkcs11:` URI.
    Token(Zeroizing<String>),
}

impl KeyForm {
    /// How this key is kept, which may be a `pkcs11:` URI.
    pub(super) fn of(key: &Path, passphrase: Option<&str>) -> Self {
        if let Some(uri) = key.to_str().filter(|text| text.starts_with("pkcs11:")) {
            return Self::Token(uri.to_owned().into());
        }
        let encrypted =
            || fs::read_to_string(key).map(Zeroizing::new).is_ok_and(|pem| pem.contains("ENCRYPTED"));
        match passphrase {
            Some(passphrase) if encrypted() => Self::Encrypted(passphrase.to_owned().into()),
            _ => Self::Plain,
        }
    }
}

/// A folder of authorities.
#[derive(Debug, Clone)]
pub(crate) enum AuthorityFolder {
    /// Named by the settings; it must exist.
    Set(PathBuf),
    /// Beside the certificate of the shared authority; made when it is needed.
    Beside(PathBuf),
}

impl AuthorityFolder {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Set(path) | Self::Beside(path) => path,
        }
    }
}
