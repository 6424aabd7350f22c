//! Starting, listening, stopping.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, HttpServer, web};
use nebula_storage::Store;
use tokio::task::{JoinHandle, spawn_blocking};
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
use crate::{AppState, Settings, error, routes, trace, upload};

/// How long requests that have begun may take once the gateway is told to stop, in seconds.
const FINISH: u64 = 30;
/// How often measurements are sorted into their buckets.
const TIDY: Duration = Duration::from_secs(5);

/// A gateway that listens. Dropping it leaves it running; [`Running::stop`] ends it.
#[derive(Debug)]
pub struct Running {
    /// Where it listens; the port is the real one, also when the settings said 0.
    pub address: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
    stopping: CancellationToken,
}

/// Reads the keys, makes the connections' pool, binds, and serves. The database need not answer yet.
///
/// # Errors
/// One sentence: what could not be used and what to do.
pub async fn start(settings: Settings) -> Result<Running, String> {
    let database = Database::new(&settings.database_url, settings.database_connections)?;
    let store = Store::open(&settings.storage_url).map_err(|error| format!("NEBULA_STORAGE_URL: {error}"))?;
    let tokens = Tokens::new(&settings.token_key);
    let Settings { authorities, certificate_lifetime, listen, max_upload, .. } = settings;
    let keyring = spawn_blocking(move || Keyring::load(authorities));
    let keyring = Arc::new(keyring.await.map_err(|error| error.to_string())??);
    let passwords = spawn_blocking(Passwords::new).await.map_err(|error| error.to_string())??;
    let metrics = Metrics::install()?;
    let stopping = CancellationToken::new();
    let events = Events::start(database.config().clone(), stopping.clone());
    let agents = Agents::start(database.config().clone(), stopping.clone());
    upload::keep_clean(store.staging(), stopping.clone());

    let state = web::Data::new(AppState {
        database,
        tokens,
        passwords,
        projects: Projects::new(Arc::clone(&keyring)),
        admissions: Admissions::default(),
        fetches: Fetches::default(),
        claims: Claims::default(),
        keyring,
        certificate_lifetime,
        store,
        max_upload,
        events,
        agents,
        limits: Limits::default(),
        metrics: metrics.clone(),
        readiness: Readiness::default(),
        stopping: stopping.clone(),
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(error::json_config())
            .app_data(error::path_config())
            .app_data(error::query_config())
            .wrap(DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")))
            .wrap(from_fn(trace::request))
            .configure(routes::configure)
            .default_service(web::to(crate::web::serve))
    })
    .disable_signals()
    .shutdown_timeout(FINISH)
    .bind(&listen)
    .map_err(|error| {
        format!("NEBULA_LISTEN: cannot listen on {listen}: {error}; is another gateway running?")
    })?;
    let address = *server.addrs().first().ok_or("NEBULA_LISTEN names no address")?;
    let server = server.run();
    let handle = server.handle();
    let task = tokio::spawn(server);
    tokio::spawn(tidy(metrics, stopping.clone()));
    tracing::info!(%address, version = crate::health::VERSION, "listening");
    Ok(Running { address, handle, task, stopping })
}

impl Running {
    /// Accepts nothing more, lets what has begun finish for up to 30 s, and ends.
    ///
    /// # Errors
    /// A sentence when the server failed before it was told to stop.
    pub async fn stop(self) -> Result<(), String> {
        self.stopping.cancel();
        self.handle.stop(true).await;
        finished(self.task.await)
    }

    /// Serves until `signal` resolves, then stops; or until the server fails by itself.
    ///
    /// # Errors
    /// A sentence when the server failed.
    pub async fn until(mut self, signal: impl Future<Output = ()>) -> Result<(), String> {
        tokio::select! {
            outcome = &mut self.task => finished(outcome),
            () = signal => self.stop().await,
        }
    }
}

fn finished(outcome: Result<std::io::Result<()>, tokio::task::JoinError>) -> Result<(), String> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the server failed: {error}")),
        Err(error) => Err(format!("the server failed: {error}")),
    }
}

async fn tidy(metrics: Metrics, stopping: CancellationToken) {
    while stopping.run_until_cancelled(tokio::time::sleep(TIDY)).await.is_some() {
        metrics.tidy();
    }
}
