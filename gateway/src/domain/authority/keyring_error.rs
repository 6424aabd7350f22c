//! Why keys of authorities cannot be used.

use std::io;
use std::path::PathBuf;

use nebula_certificate::Error;

/// Why keys cannot be used. A message names the file, the setting or the remedy, and never a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    #[error("{path} ({setting}) cannot be read: {error}")]
    File { path: PathBuf, setting: &'static str, error: io::Error },
    #[error("the folder {path} (NEBULA_CA_DIR) cannot be read: {error}")]
    Folder { path: PathBuf, error: io::Error },
    #[error("{path}: {error}")]
    Certificate { path: PathBuf, error: Error },
    #[error("the key {path} (NEBULA_CA_KEY) cannot be read: {error}")]
    KeyMetadata { path: PathBuf, error: io::Error },
    #[error(
        "the key {path} (NEBULA_CA_KEY) has mode {mode:04o}, so others can read it; run: chmod 600 {path}"
    )]
    ReadableKey { path: PathBuf, mode: u32 },
    #[error(
        "the key {path} may not be read by the user this gateway runs as; give it to that user: \
         chown USER {path}"
    )]
    NotOwnKey { path: PathBuf },
    #[error("the key {path} cannot be read: {error}")]
    Key { path: PathBuf, error: io::Error },
    #[error("the authority in {cert} and {key} cannot be used: {error}")]
    Authority { cert: PathBuf, key: PathBuf, error: Error },
    #[error("the authority in {cert} cannot be used with its token: {error}")]
    Token { cert: PathBuf, error: Error },
    #[error("{path} cannot be written: {error}")]
    Write { path: PathBuf, error: io::Error },
    #[error("an authority for {project:?} cannot be made: {error}")]
    Make { project: String, error: Error },
    #[error("this gateway has no folder of authorities")]
    NoFolder,
}

impl KeyringError {
    /// Whether the same files may be usable later: a token was not there, or the system refused something. A
    /// PIN that a token refuses is not tried again, because tokens lock themselves after a few.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::File { .. } | Self::KeyMetadata { .. } | Self::Key { .. } => true,
            Self::Authority { error, .. } | Self::Token { error, .. } => {
                matches!(error, Error::Token { .. } | Error::Memory { .. } | Error::OpenSsl(_))
            }
            _ => false,
        }
    }
}
