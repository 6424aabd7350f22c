//! The file whose age a health check examines.

use std::path::PathBuf;

/// Path of the file; without one, nothing is written.
#[derive(Debug)]
pub(super) struct Health(pub(super) Option<PathBuf>);

impl Health {
    /// To be called whenever the database has answered. When the file cannot be written, the check fails, as
    /// it should.
    pub(super) fn touch(&self) {
        if let Some(path) = &self.0
            && let Err(error) = std::fs::write(path, b"ok\n")
        {
            tracing::warn!("cannot write the health file {}: {error}", path.display());
        }
    }
}
