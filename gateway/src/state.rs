//! The services that handlers share, made once at start.

use std::sync::Arc;

use nebula_storage::Store;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::domain::agent_protocol::AgentService;
use crate::domain::auth::password::Passwords;
use crate::domain::auth::token::Tokens;
use crate::domain::authority::Keyring;
use crate::domain::registration::Registrar;
use crate::domain::upload::Uploads;
use crate::infra::device_program::DeviceProgram;
use crate::infra::event_hub::EventHub;
use crate::infra::metrics::Metrics;
use crate::infra::readiness::Readiness;

/// Handlers take it as `web::Data<AppState>`.
#[derive(Debug)]
pub(crate) struct AppState {
    /// Address at which devices reach the gateway, if it is set.
    pub(crate) public_url: Option<String>,
    pub(crate) database: Database,
    pub(crate) store: Store,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) agents: Arc<AgentService>,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) device_program: Arc<DeviceProgram>,
    pub(crate) events: EventHub,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    /// Cancelled when the gateway begins to stop; ends the responses that would never end by themselves.
    pub(crate) stopping: CancellationToken,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, SystemTime};

    use actix_web::web;
    use nebula_certificate::{CertificateAuthority, NewAuthority};

    use super::*;
    use crate::domain::project_cache::ProjectCache;
    use crate::infra::long_poll_hub::LongPollHub;
    use crate::infra::rate_limit::RateLimits;

    /// A state whose database does not answer. Dropping the folder deletes the store.
    pub(crate) fn unconnected() -> (web::Data<AppState>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let day = Duration::from_secs(24 * 3600);
        let authority =
            CertificateAuthority::create(&NewAuthority::new("test", day), SystemTime::now()).unwrap();
        let stopping = CancellationToken::new();
        let keyring = Arc::new(Keyring::new(authority));
        let database = Database::new("postgresql://nobody@127.0.0.1:1/none", 1).unwrap();
        let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
        let projects = Arc::new(ProjectCache::new(Arc::clone(&keyring)));
        let limits = Arc::new(RateLimits::default());
        let state = AppState {
            public_url: None,
            events: EventHub::start(database.config().clone(), stopping.clone()),
            registrar: Arc::new(Registrar::new(
                database.clone(),
                Arc::clone(&projects),
                Arc::clone(&limits),
                day,
            )),
            agents: Arc::new(AgentService::new(
                database.clone(),
                projects,
                limits,
                LongPollHub::default(),
                stopping.clone(),
                day,
            )),
            uploads: Arc::new(Uploads::new(database.clone(), store.clone(), None)),
            device_program: Arc::new(DeviceProgram::beside_gateway().unwrap()),
            database,
            store,
            tokens: Tokens::new(b"thirty-two bytes for a token key"),
            passwords: Passwords::new().unwrap(),
            keyring,
            metrics: Metrics::install().unwrap(),
            readiness: Readiness::default(),
            stopping,
        };
        (web::Data::new(state), folder)
    }
}
