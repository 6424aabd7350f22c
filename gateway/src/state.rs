//! What every request may use, made once at start and shared by all workers.

use std::sync::Arc;
use std::time::Duration;

use nebula_storage::Store;
use tokio_util::sync::CancellationToken;

use crate::agent::Agents;
use crate::auth::{Passwords, Tokens};
use crate::authority::Keyring;
use crate::database::Database;
use crate::device::admission::Admissions;
use crate::dnapi::{Claims, Fetches};
use crate::event::Events;
use crate::health::Readiness;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::project::Projects;

/// The parts a handler works with; handlers take `web::Data<AppState>`.
#[derive(Debug)]
pub struct AppState {
    /// Connections to PostgreSQL.
    pub database: Database,
    /// Signs and checks access tokens and other signed texts.
    pub tokens: Tokens,
    /// Checks passwords, a few at a time.
    pub passwords: Passwords,
    /// The authorities.
    pub keyring: Arc<Keyring>,
    /// What is known of projects, and who signs for them.
    pub projects: Projects,
    /// Devices that are being registered.
    pub admissions: Admissions,
    /// Agents that fetch their configuration.
    pub fetches: Fetches,
    /// Calls of agents whose keys are being looked up.
    pub claims: Claims,
    /// How long certificates are valid where the project says nothing.
    pub certificate_lifetime: Duration,
    /// Where bytes live.
    pub store: Store,
    /// Largest upload in bytes; none means that only the disk is the limit.
    pub max_upload: Option<u64>,
    /// What happens, as it happens.
    pub events: Events,
    /// Agents that wait for news.
    pub agents: Agents,
    /// Limits per client address.
    pub limits: Limits,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// The last answer of `/health/ready`.
    pub readiness: Readiness,
    /// Cancelled when the gateway begins to stop: answers that never end by themselves end now.
    pub stopping: CancellationToken,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::SystemTime;

    use actix_web::web;
    use nebula_certificate::{CertificateAuthority, NewAuthority};

    use super::*;

    /// Everything real except that no database listens where it looks; the folder goes when it is dropped.
    pub(crate) fn unconnected() -> (web::Data<AppState>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let day = Duration::from_secs(24 * 3600);
        let authority =
            CertificateAuthority::create(&NewAuthority::new("test", day), SystemTime::now()).unwrap();
        let stopping = CancellationToken::new();
        let keyring = Arc::new(Keyring::new(authority));
        let database = Database::new("postgresql://nobody@127.0.0.1:1/none", 1).unwrap();
        let state = AppState {
            max_upload: None,
            events: Events::start(database.config().clone(), stopping.clone()),
            agents: Agents::default(),
            limits: Limits::default(),
            database,
            tokens: Tokens::new(b"thirty-two bytes for a token key"),
            passwords: Passwords::new().unwrap(),
            projects: Projects::new(Arc::clone(&keyring)),
            keyring,
            admissions: Admissions::default(),
            fetches: Fetches::default(),
            claims: Claims::default(),
            certificate_lifetime: day,
            store: Store::open(&format!("file://{}", folder.path().display())).unwrap(),
            metrics: Metrics::install().unwrap(),
            readiness: Readiness::default(),
            stopping,
        };
        (web::Data::new(state), folder)
    }
}
