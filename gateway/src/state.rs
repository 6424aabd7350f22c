//! The services that handlers share, made once at start.

use std::sync::Arc;

use nebula_storage::Store;

use crate::database::Database;
use crate::domain::agent_protocol::AgentService;
use crate::domain::auth::password::Passwords;
use crate::domain::auth::token::Tokens;
use crate::domain::authority::Keyring;
use crate::domain::disks::Disks;
use crate::domain::gateway_address::GatewayAddress;
use crate::domain::leftovers::Leftovers;
use crate::domain::live_events::LiveEvents;
use crate::domain::machine::MachineWatch;
use crate::domain::network::Networks;
use crate::domain::peer::Peers;
use crate::domain::rate_limit::RateLimits;
use crate::domain::registration::Registrar;
use crate::domain::upload::Uploads;
use crate::domain::upload::resumable::Resumable;
use crate::infra::access_hub::AccessHub;
use crate::infra::connections::{BodyLimits, Connections};
use crate::infra::device_program::DeviceProgram;
use crate::infra::metrics::Metrics;
use crate::infra::quota::Transfers;
use crate::infra::readiness::Readiness;
use crate::infra::refusal_records::RefusedRequests;
use crate::infra::trusted_proxies::TrustedProxies;

/// Handlers take it as `web::Data<AppState>`.
#[derive(Debug)]
pub(crate) struct AppState {
    /// Address at which devices reach the gateway, if it is set.
    pub(crate) public_url: Option<String>,
    pub(crate) gateway_address: Arc<GatewayAddress>,
    /// Those whose headers about the client are believed.
    pub(crate) proxies: TrustedProxies,
    pub(crate) connections: Connections,
    pub(crate) body_limits: BodyLimits,
    pub(crate) transfers: Transfers,
    pub(crate) database: Database,
    pub(crate) store: Store,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(crate) refused_requests: RefusedRequests,
    pub(crate) limits: Arc<RateLimits>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) agents: Arc<AgentService>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) resumable: Arc<Resumable>,
    pub(crate) disks: Arc<Disks>,
    pub(crate) leftovers: Arc<Leftovers>,
    pub(crate) machine: Arc<MachineWatch>,
    pub(crate) device_program: Arc<DeviceProgram>,
    pub(crate) events: LiveEvents,
    pub(crate) networks: Networks,
    /// Ends streams with the rights to them.
    pub(crate) access: AccessHub,
    pub(crate) metrics: Metrics,
    /// Whether they are shown on an address of their own only.
    pub(crate) metrics_apart: bool,
    pub(crate) readiness: Readiness,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, SystemTime};

    use actix_web::web;
    use nebula_certificate::{CertificateAuthority, NewAuthority};
    use nebula_machine::Sensors;
    use nebula_storage::Reserve;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::database::Signer;
    use crate::domain::project_cache::ProjectCache;
    use crate::domain::rate_limit::Maxima;
    use crate::infra::event_hub::EventHub;
    use crate::infra::long_poll_hub::LongPollHub;
    use crate::infra::node_hub::NodeHub;

    /// A state whose database does not answer. Dropping the folder deletes the store.
    pub(crate) fn unconnected() -> (web::Data<AppState>, tempfile::TempDir) {
        behind_proxies("")
    }

    /// As [`unconnected`], with proxies that are trusted.
    pub(crate) fn behind_proxies(proxies: &str) -> (web::Data<AppState>, tempfile::TempDir) {
        let proxies: TrustedProxies = proxies.parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let day = Duration::from_secs(24 * 3600);
        let authority =
            CertificateAuthority::create(&NewAuthority::new("test", day), SystemTime::now()).unwrap();
        let stopping = CancellationToken::new();
        let keyring = Arc::new(Keyring::new(authority));
        let signer = Signer::new(b"thirty-two bytes for a token key").unwrap();
        let database =
            Database::new("postgresql://nobody@127.0.0.1:1/none", None, 1, signer.clone()).unwrap();
        let store = Store::open(&format!("file://{}", folder.path().display())).unwrap();
        let gateway_address = Arc::new(GatewayAddress::default());
        let projects = Arc::new(ProjectCache::new(Arc::clone(&keyring), Arc::clone(&gateway_address)));
        let limits = Arc::new(RateLimits::new(database.clone(), Maxima::none()));
        let disks = Arc::new(Disks::new(database.clone(), &store, Reserve::Bytes(0)));
        let uploads = Arc::new(Uploads::new(database.clone(), store.clone(), Arc::clone(&disks), None));
        let state = AppState {
            public_url: None,
            gateway_address,
            connections: Connections::new(100, proxies.clone()),
            proxies,
            transfers: Transfers::new(50),
            body_limits: BodyLimits { silence: Duration::from_millis(50), whole: day, upload: day },
            events: LiveEvents::new(
                EventHub::default(),
                AccessHub::default(),
                database.clone(),
                stopping.clone(),
            ),
            registrar: Arc::new(Registrar::new(
                database.clone(),
                Arc::clone(&projects),
                Arc::clone(&limits),
                day,
            )),
            agents: Arc::new(AgentService::new(
                database.clone(),
                projects,
                Arc::clone(&limits),
                (LongPollHub::default(), NodeHub::default()),
                50,
                stopping.clone(),
                day,
            )),
            peers: Arc::new(Peers::new(database.clone(), NodeHub::default(), stopping)),
            resumable: Arc::new(Resumable::new(Arc::clone(&uploads))),
            uploads,
            disks,
            leftovers: Arc::new(Leftovers::new(database.clone(), store.clone(), None)),
            machine: Arc::new(MachineWatch::new(Sensors::new(None, None), database.clone())),
            device_program: Arc::new(DeviceProgram::beside_gateway().unwrap()),
            access: AccessHub::default(),
            database,
            store,
            tokens: Tokens::new(b"thirty-two bytes for a token key", signer),
            passwords: Passwords::new(),
            refused_requests: RefusedRequests::default(),
            networks: Networks::default(),
            limits,
            keyring,
            metrics: Metrics::install().unwrap(),
            metrics_apart: false,
            readiness: Readiness::default(),
        };
        (web::Data::new(state), folder)
    }
}
