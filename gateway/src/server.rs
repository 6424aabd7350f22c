//! Starting, listening, stopping.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpServer, web};
use anyhow::{Context, Result};
use nebula_storage::Store;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::domain::agent_protocol::AgentService;
use crate::domain::auth::password::Passwords;
use crate::domain::auth::token::Tokens;
use crate::domain::authority::Keyring;
use crate::domain::project_cache::ProjectCache;
use crate::domain::registration::Registrar;
use crate::domain::upload::{self, Uploads};
use crate::http::{console, error, request_log, routes};
use crate::infra::bind::{free_bound, listen_addresses};
use crate::infra::device_program::DeviceProgram;
use crate::infra::event_hub::EventHub;
use crate::infra::long_poll_hub::LongPollHub;
use crate::infra::metrics::Metrics;
use crate::infra::rate_limit::RateLimits;
use crate::infra::readiness::Readiness;
use crate::settings::Settings;
use crate::state::AppState;

/// How long requests that have begun may take once the gateway is told to stop, in seconds.
const SHUTDOWN_TIMEOUT: u64 = 30;
const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A gateway that listens. Dropping it does not stop it.
#[derive(Debug)]
pub struct Running {
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
    stopping: CancellationToken,
}

/// Reads the keys, binds the port, and serves. The database need not answer yet.
///
/// # Errors
/// One sentence: the setting that could not be used, and the remedy.
pub async fn start(settings: Settings) -> Result<Running> {
    let stopping = CancellationToken::new();
    let listen = settings.listen.clone();
    let (first, further) = listen_addresses(&listen)?;
    let state = web::Data::new(make_state(settings, &stopping).await?);
    let metrics = state.metrics.clone();
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(error::json_config())
            .app_data(error::path_config())
            .app_data(error::query_config())
            .wrap(DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")))
            .wrap(from_fn(request_log::log_request))
            .configure(routes::configure)
            .default_service(web::to(console::serve))
    })
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_TIMEOUT)
    .bind(first)
    .map_err(|error| {
        anyhow::anyhow!("NEBULA_LISTEN: cannot listen on {first}: {error}; is another gateway running?")
    })?;
    for address in further {
        let refused = |error| {
            anyhow::anyhow!("NEBULA_LISTEN: cannot listen on {address}: {error}; is another gateway running?")
        };
        server = server.listen(free_bound(&address).map_err(refused)?).map_err(refused)?;
    }
    let address = *server.addrs().first().context("NEBULA_LISTEN names no address")?;
    let server = server.run();
    let handle = server.handle();
    let task = tokio::spawn(server);
    tokio::spawn(keep_up(metrics, stopping.clone()));
    tracing::info!(%address, version = crate::VERSION, "listening");
    Ok(Running { handle, task, stopping })
}

async fn make_state(settings: Settings, stopping: &CancellationToken) -> Result<AppState> {
    let Settings { authorities, certificate_lifetime, max_upload, .. } = settings;
    let database = Database::new(&settings.database_url, settings.database_connections)?;
    let store =
        Store::open(&settings.storage_url).map_err(|error| anyhow::anyhow!("NEBULA_STORAGE_URL: {error}"))?;
    let keyring = Arc::new(spawn_blocking(move || Keyring::load(authorities)).await??);
    let passwords = spawn_blocking(Passwords::new).await??;
    let metrics = Metrics::install()?;
    let events = EventHub::start(database.config().clone(), stopping.clone());
    let hub = LongPollHub::start(database.config().clone(), stopping.clone());
    upload::start_sweeping(store.staging(), stopping.clone());
    let projects = Arc::new(ProjectCache::new(Arc::clone(&keyring)));
    let limits = Arc::new(RateLimits::default());
    let registrar =
        Registrar::new(database.clone(), Arc::clone(&projects), Arc::clone(&limits), certificate_lifetime);
    let agents =
        AgentService::new(database.clone(), projects, limits, hub, stopping.clone(), certificate_lifetime);
    Ok(AppState {
        public_url: settings.public_url,
        tokens: Tokens::new(&settings.token_key),
        passwords,
        keyring,
        registrar: Arc::new(registrar),
        agents: Arc::new(agents),
        uploads: Arc::new(Uploads::new(database.clone(), store.clone(), max_upload)),
        device_program: Arc::new(DeviceProgram::beside_gateway()?),
        database,
        store,
        events,
        metrics,
        readiness: Readiness::default(),
        stopping: stopping.clone(),
    })
}

impl Running {
    /// Serves until `signal` resolves, then accepts nothing more and lets requests that have begun finish for
    /// up to 30 s; or until the server fails by itself.
    ///
    /// # Errors
    /// When the server failed.
    pub async fn until(mut self, signal: impl Future<Output = ()>) -> Result<()> {
        let outcome = tokio::select! {
            outcome = &mut self.task => outcome,
            () = signal => {
                self.stopping.cancel();
                self.handle.stop(true).await;
                self.task.await
            }
        };
        outcome.map_err(std::io::Error::from).flatten().context("the server failed")
    }
}

async fn keep_up(metrics: Metrics, stopping: CancellationToken) {
    while stopping.run_until_cancelled(tokio::time::sleep(METRICS_UPKEEP_INTERVAL)).await.is_some() {
        metrics.run_upkeep();
    }
}
