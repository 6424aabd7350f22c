//! Starting, listening, stopping.

use std::fmt::Display;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol};
use actix_server::{Server, ServerHandle};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{App, web};
use anyhow::{Context, Result};
use futures::FutureExt;
use nebula_storage::Store;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, Signer, event, project};
use crate::domain::agent_protocol::AgentService;
use crate::domain::auth::password::Passwords;
use crate::domain::auth::token::Tokens;
use crate::domain::authority::{Keyring, expiry};
use crate::domain::disks::{self, Disks};
use crate::domain::gateway_address::GatewayAddress;
use crate::domain::leftovers::{self, Leftovers};
use crate::domain::live_events::LiveEvents;
use crate::domain::machine::{self, MachineWatch};
use crate::domain::network::Networks;
use crate::domain::node_secret;
use crate::domain::peer::Peers;
use crate::domain::project_cache::ProjectCache;
use crate::domain::rate_limit::RateLimits;
use crate::domain::registration::Registrar;
use crate::domain::scrub;
use crate::domain::trash;
use crate::domain::upload::Uploads;
use crate::domain::upload::resumable::Resumable;
use crate::error::sentence;
use crate::http::encryption::{self, Encryption};
use crate::http::upload::expect;
use crate::http::{body_limit, console, error, metrics, personal_token, representation, request_log, routes};
use crate::infra::access_hub::AccessHub;
use crate::infra::bind::{self, bound, free_bound, listen_addresses};
use crate::infra::client_stream::{ClientStream, NO_ROOM, NOT_ENCRYPTED};
use crate::infra::connections::{Connection, Connections};
use crate::infra::device_program::DeviceProgram;
use crate::infra::event_hub::EventHub;
use crate::infra::file_limit;
use crate::infra::long_poll_hub::LongPollHub;
use crate::infra::metrics::Metrics;
use crate::infra::node_hub::NodeHub;
use crate::infra::quota::Transfers;
use crate::infra::readiness::Readiness;
use crate::infra::refusal_records::RefusedRequests;
use crate::infra::tls::{Opening, Tls};
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
    let (listen, metrics_listen) = (settings.listen.clone(), settings.metrics_listen.clone());
    let connections = Connections::new(file_limit::raise(), settings.proxies.clone());
    let (first, further) = listen_addresses(&listen)?;
    let refused = |address: &dyn Display, error: std::io::Error| {
        let advice = bind::advice(&error);
        anyhow::anyhow!("NEBULA_LISTEN: cannot listen on {address}: {error}; {advice}")
    };
    let mut listeners = bound(first).map_err(|error| refused(&first, error))?;
    for address in &further {
        listeners.push(free_bound(address).map_err(|error| refused(address, error))?);
    }
    let tls = settings.tls.as_ref().map(|source| Tls::start(source, stopping.clone())).transpose()?;
    let address = listeners.first().context("NEBULA_LISTEN names no address")?.local_addr()?;
    let state = web::Data::new(make_state(settings, connections.clone(), &stopping).await?);
    let metrics = state.metrics.clone();
    let mut server = Server::build()
        .disable_signals()
        .shutdown_timeout(SHUTDOWN_TIMEOUT)
        .max_concurrent_connections(connections.max());
    for listener in listeners {
        let (state, connections, stopping) = (state.clone(), connections.clone(), stopping.clone());
        let tls = tls.clone();
        let service = move || serve(state.clone(), connections.clone(), tls.clone(), stopping.clone());
        server = server.listen("http", listener, service)?;
    }
    if let Some(address) = metrics_listen {
        let refused = |error: std::io::Error| {
            let advice = bind::advice(&error);
            anyhow::anyhow!("NEBULA_METRICS_LISTEN: cannot listen on {address}: {error}; {advice}")
        };
        for listener in bound(&address).map_err(refused)? {
            let state = state.clone();
            server = server.listen("metrics", listener, move || serve_metrics(state.clone()))?;
        }
    }
    let server = server.run();
    let handle = server.handle();
    let task = tokio::spawn(server);
    tokio::spawn(keep_up(metrics, stopping.clone()));
    tracing::info!(%address, version = crate::VERSION, "listening");
    Ok(Running { handle, task, stopping })
}

/// The service of a connection: the table of connections admits it, the application answers its requests.
fn serve(
    state: web::Data<AppState>,
    connections: Connections,
    tls: Option<Tls>,
    stopping: CancellationToken,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()> {
    let (asked, is_required) = (state.clone(), tls.as_ref().is_some_and(Tls::is_required));
    let app = App::new()
        .app_data(state)
        .app_data(error::json_config())
        .app_data(error::path_config())
        .app_data(error::query_config())
        .wrap(from_fn(personal_token::look_up))
        .wrap(from_fn(encryption::tell_browsers))
        .wrap(DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")))
        .wrap(from_fn(representation::represent))
        .wrap(from_fn(body_limit::limit_body))
        .wrap(from_fn(request_log::log_request))
        .configure(routes::configure)
        .default_service(web::to(console::serve));
    let app = app.into_factory().map_err(|error| error.error_response());
    let http = HttpService::build()
        .client_disconnect_timeout(Duration::from_secs(1))
        .graceful_shutdown_signal(move || stopping.clone().cancelled_owned())
        .expect(fn_service(move |request| expect::ask(asked.clone(), request)))
        .on_connect_ext(move |stream: &ClientStream, extensions| {
            extensions.insert(Arc::clone(stream.connection()));
            extensions.insert(Encryption { is_on: stream.is_encrypted(), is_required });
        })
        .finish(map_config(app, |()| AppConfig::default()));
    fn_service(move |stream: TcpStream| {
        let peer = stream.peer_addr().ok();
        let admitted = connections.admit(peer.map(|peer| peer.ip()));
        let tls = tls.clone();
        async move {
            let Some(connection) = admitted else {
                let _ = stream.try_write(NO_ROOM);
                return Err(DispatchError::Io(ErrorKind::ConnectionRefused.into()));
            };
            let stream = match tls {
                Some(tls) => open(&tls, stream, connection, peer).await.map_err(DispatchError::Io)?,
                None => ClientStream::new(stream, connection),
            };
            Ok((stream, Protocol::Http1, peer))
        }
    })
    .and_then(http)
}

/// The service of a connection on the address for metrics.
fn serve_metrics(
    state: web::Data<AppState>,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()> {
    let app = App::new()
        .app_data(state)
        .route("/metrics", web::get().to(metrics::show_apart))
        .default_service(web::to(error::not_found));
    let app = app.into_factory().map_err(|error| error.error_response());
    HttpService::build().finish(map_config(app, |()| AppConfig::default())).tcp()
}

/// Encrypts a connection, or refuses one that is not where it must be. One that has to make room meanwhile ends.
async fn open(
    tls: &Tls,
    stream: TcpStream,
    connection: Arc<Connection>,
    peer: Option<SocketAddr>,
) -> std::io::Result<ClientStream> {
    let opening = tokio::select! {
        opening = tls.open(stream) => opening?,
        () = connection.closing() => return Err(ErrorKind::ConnectionAborted.into()),
    };
    if let Opening::Plain(stream) = &opening
        && tls.is_required()
        && !peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback())
    {
        let _ = stream.try_write(NOT_ENCRYPTED);
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(ClientStream::opened(opening, connection))
}

async fn make_state(
    settings: Settings,
    connections: Connections,
    stopping: &CancellationToken,
) -> Result<AppState> {
    let Settings { authorities, certificate_lifetime, max_upload, .. } = settings;
    let listen_url = settings.database_listen_url.as_deref();
    let signer = Signer::new(&settings.token_key)?;
    let pool_size = settings.database_connections;
    let database = Database::new(&settings.database_url, listen_url, pool_size, signer.clone())?;
    let store =
        Store::open(&settings.storage_url).map_err(|error| anyhow::anyhow!("NEBULA_STORAGE_URL: {error}"))?;
    let keyring = Arc::new(spawn_blocking(move || Keyring::load(authorities)).await??);
    let metrics = Metrics::install()?;
    database.refuse_pooler_without_listener().await.map_err(sentence)?;
    let (events, hub) = start_hubs(&database, stopping);
    let access = AccessHub::start(database.listen_server().clone(), stopping.clone());
    let nodes = NodeHub::start(database.listen_server().clone(), stopping.clone());
    events.relay("node", nodes.any(), stopping.clone());
    keyring.start_scanning(stopping.clone());
    expiry::start_warning(database.clone(), stopping.clone());
    let gateway_address = Arc::new(GatewayAddress::new(settings.public_url.as_deref()));
    let projects = Arc::new(ProjectCache::new(Arc::clone(&keyring), Arc::clone(&gateway_address)));
    let disks = Arc::new(Disks::new(database.clone(), &store, settings.disk_reserve));
    disks::start_watching(Arc::clone(&disks), metrics.clone(), stopping.clone());
    let leftovers = Arc::new(Leftovers::new(database.clone(), store.clone(), settings.orphan_age));
    leftovers::start_sweeping(Arc::clone(&leftovers), metrics.clone(), stopping.clone());
    let machine = Arc::new(MachineWatch::new(settings.sensors, database.clone()));
    machine::start_watching(Arc::clone(&machine), metrics.clone(), stopping.clone());
    node_secret::start_sealing(database.clone(), stopping.clone());
    scrub::schedule(database.clone(), settings.scrub, stopping.clone());
    trash::start_emptying(database.clone(), store.clone(), settings.trash_age, stopping.clone());
    let uploads = Arc::new(Uploads::new(database.clone(), store.clone(), Arc::clone(&disks), max_upload));
    let limits = Arc::new(RateLimits::new(database.clone(), settings.rate_limits));
    let registrar =
        Registrar::new(database.clone(), Arc::clone(&projects), Arc::clone(&limits), certificate_lifetime);
    let agents = AgentService::new(
        database.clone(),
        projects,
        Arc::clone(&limits),
        (hub, nodes.clone()),
        connections.half(),
        stopping.clone(),
        certificate_lifetime,
    );
    Ok(AppState {
        proxies: settings.proxies,
        transfers: Transfers::new(connections.half()),
        connections,
        body_limits: settings.body_limits,
        public_url: settings.public_url,
        gateway_address,
        tokens: Tokens::new(&settings.token_key, signer),
        passwords: Passwords::new(),
        refused_requests: RefusedRequests::default(),
        networks: Networks::default(),
        limits,
        keyring,
        registrar: Arc::new(registrar),
        agents: Arc::new(agents),
        peers: Arc::new(Peers::new(database.clone(), nodes, stopping.clone())),
        resumable: Arc::new(Resumable::new(Arc::clone(&uploads))),
        uploads,
        disks,
        leftovers,
        machine,
        device_program: Arc::new(DeviceProgram::beside_gateway()?),
        store,
        events: LiveEvents::new(events, access.clone(), database.clone(), stopping.clone()),
        access,
        database,
        metrics,
        metrics_apart: settings.metrics_listen.is_some(),
        readiness: Readiness::default(),
    })
}

/// Starts what listens to the database. What it says is looked up there.
fn start_hubs(database: &Database, stopping: &CancellationToken) -> (EventHub, LongPollHub) {
    let server = database.listen_server();
    let asked = database.clone();
    let confirm = move |hints: Vec<_>| {
        let database = asked.clone();
        async move { event::confirm(&database.client().await?, &hints).await }.boxed()
    };
    let asked = database.clone();
    let versions = move |projects: Vec<_>| {
        let database = asked.clone();
        async move { project::versions(&database.client().await?, &projects).await }.boxed()
    };
    let events = EventHub::start(server.clone(), Box::new(confirm), stopping.clone());
    (events, LongPollHub::start(server.clone(), Box::new(versions), stopping.clone()))
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
