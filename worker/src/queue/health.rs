//! The file a health check looks at the age of.

use std::path::PathBuf;

/// Touched whenever the database has answered; without a path, nothing is.
#[derive(Debug)]
pub(super) struct Health(pub(super) Option<PathBuf>);

impl Health {
    /// The database has answered. A worker that cannot write the file looks ill, which it is.
    pub(super) fn touch(&self) {
        if let Some(path) = &self.0
            && let Err(error) = std::fs::write(path, b"ok\n")
        {
            tracing::warn!("cannot write the health file {}: {error}", path.display());
        }
    }
}
