//! The agent keeps a device in the state that the gateway wants. It polls the gateway and listens on no port.
//!
//! The agent waits in a long poll, fetches a new configuration with new keys, tests it with the nebula of
//! this machine, switches to it, and makes nebula reload or restart. The counter in its next call tells the
//! gateway which configuration runs. See `gateway/api/src/dnapi.rs` for the protocol, `state.rs` for the
//! files, `run.rs` for the loop.

use std::path::PathBuf;
use std::sync::Arc;

use nebula_api::agent::{Instruction, Refused};

use crate::device_folder::no_agent;
use crate::error::{Code, Error, Result};
use apply::Retry;
use backon::{BackoffBuilder, ExponentialBackoff};
use gateway::Gateway;
use held_routes::HeldRoutes;
use keys::Credential;
use nebula::Nebula;
use nebula::machine::{INTERFACE, Machine};
use node_sync::NodeSync;
use resolver::MachineResolver;
use state::{AgentFolder, Generation, Identity};
use syncthing::{Syncthing, SyncthingSetup};
use traffic::Traffic;
use which::which;

mod apply;
mod backoff;
pub(crate) mod change;
pub(crate) mod config;
pub(crate) mod gateway;
mod health;
mod held_routes;
mod journal;
pub(crate) mod keys;
pub(crate) mod nebula;
pub(crate) mod node_secret;
mod node_sync;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod resolver;
mod run;
pub(crate) mod state;
mod substitute;
pub(crate) mod syncthing;
pub(crate) mod systemd;
mod tool;
mod traffic;
pub(crate) mod update;
pub(crate) mod wireguard;

/// Options of an agent.
#[derive(Debug)]
pub(crate) struct AgentOptions {
    pub(crate) dir: PathBuf,
    /// The nebula program [default: the one on `PATH`].
    pub(crate) nebula: Option<PathBuf>,
    /// Systemd unit that runs nebula, instead of the agent.
    pub(crate) unit: Option<String>,
    /// Name of the interface [default: as the gateway says, or another one if that is taken].
    pub(crate) interface: Option<String>,
    /// Whether to count bytes per peer where the system can.
    pub(crate) traffic: bool,
    /// Whether to let the resolver of this machine ask lighthouses.
    pub(crate) dns: bool,
    /// `None` leaves Syncthing alone.
    pub(crate) syncthing: Option<SyncthingSetup>,
}

/// One device and the programs that run for it.
pub(crate) struct Agent {
    folder: AgentFolder,
    identity: Identity,
    gateway: Arc<Gateway>,
    nebula: Nebula,
    machine: Machine,
    syncthing: Option<Syncthing>,
    traffic: Traffic,
    resolver: MachineResolver,
    /// The task that looks after WireGuard, if this device represents a node.
    node: Option<NodeSync>,
    /// The configuration that nebula runs.
    running: Option<Generation>,
    /// Keys to call the gateway with: first those of the running configuration, then older ones, for a
    /// gateway that was restored from a backup and does not know the newest.
    credentials: Vec<Credential>,
    refused: Option<Refused>,
    /// A configuration that was refused for a fault of the machine, which may have passed by then.
    retry: Option<Retry>,
    held_routes: HeldRoutes,
    /// Starts of the current configuration that have failed since nebula ran last.
    failed_starts: u32,
    /// Whether nebula does not run because this machine is in a network with addresses of the overlay.
    is_kept_out: bool,
    instruction: Option<Instruction>,
    contact: report::Contact,
    /// The status that was last saved.
    last: Option<report::Status>,
    /// Delays between calls after a failure.
    backoff: ExponentialBackoff,
}

impl Agent {
    /// Opens the device's folder, which no other agent may hold.
    pub(crate) fn open(options: AgentOptions) -> Result<Self> {
        let nothing = || no_agent(&options.dir);
        if state::identity(&options.dir)?.is_none() {
            return Err(nothing());
        }
        let folder = AgentFolder::open(&options.dir)?;
        let identity = folder.identity()?.ok_or_else(nothing)?;
        let program = options.nebula.or_else(|| which("nebula").ok()).ok_or_else(|| {
            Error::new(Code::NotFound, "nebula is not on PATH").hint(
                "Install it: apt install nebula, or https://github.com/slackhq/nebula/releases; or name it \
                 with --nebula",
            )
        })?;
        let nebula = Nebula::new(&program, &folder, options.unit)?;
        let syncthing =
            options.syncthing.map(|options| Syncthing::new(options, folder.path())).transpose()?;
        let resolver = MachineResolver::new(options.dns, folder.path());
        let interface_file = folder.file(INTERFACE);
        Ok(Self {
            gateway: Arc::new(Gateway::new(&identity.server, folder.path())?),
            folder,
            identity,
            nebula,
            machine: Machine::new(options.interface, interface_file),
            syncthing,
            traffic: Traffic::new(options.traffic.then(|| which("nft").ok()).flatten()),
            resolver,
            node: None,
            running: None,
            credentials: Vec::new(),
            refused: None,
            retry: None,
            held_routes: HeldRoutes::default(),
            failed_starts: 0,
            is_kept_out: false,
            instruction: None,
            contact: report::Contact::default(),
            last: None,
            backoff: backoff::RETRY.build(),
        })
    }
}
