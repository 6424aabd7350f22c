//! The agent: keeps a device in the state that the gateway wants it in. It asks, nothing here listens.
//!
//! It waits in a long poll, fetches what is new with new keys, tries it with the nebula of this machine, switches, and
//! lets nebula reload or restart; the counter of its next call says what runs. See `gateway/api/src/dnapi.rs` for the
//! protocol, `state.rs` for what is on disk, `run.rs` for the loop.

use std::path::PathBuf;
use std::sync::Arc;

use nebula_api::agent::{Instruction, Refused};

use crate::error::{Code, Error, Result};
use backon::{BackoffBuilder, ExponentialBackoff};
use gateway::Gateway;
use keys::Credential;
use nebula::Nebula;
use state::{Folder, Generation, Identity};
use syncthing::Syncthing;
use traffic::Traffic;
use which::which;

mod apply;
mod backoff;
pub(crate) mod gateway;
mod health;
mod journal;
pub(crate) mod keys;
pub(crate) mod nebula;
pub(crate) mod node_secret;
pub(crate) mod process;
pub(crate) mod report;
mod run;
pub(crate) mod state;
pub(crate) mod syncthing;
pub(crate) mod systemd;
mod traffic;
pub(crate) mod update;

/// How an agent is to work.
#[derive(Debug)]
pub(crate) struct Options {
    /// Folder of the device.
    pub(crate) dir: PathBuf,
    /// The daemon [default: the one on `PATH`].
    pub(crate) nebula: Option<PathBuf>,
    /// Unit of systemd that runs the daemon, instead of the agent.
    pub(crate) unit: Option<String>,
    /// Whether to count bytes per peer, if the system can.
    pub(crate) traffic: bool,
    /// What to do about Syncthing.
    pub(crate) syncthing: Option<syncthing::Options>,
}

/// One device under care.
pub(crate) struct Agent {
    folder: Folder,
    identity: Identity,
    gateway: Arc<Gateway>,
    nebula: Nebula,
    syncthing: Option<Syncthing>,
    traffic: Traffic,
    /// What nebula runs.
    running: Option<Generation>,
    /// Whom we can speak as: first what runs, then older ones for a gateway that lost the newest.
    credentials: Vec<Credential>,
    refused: Option<Refused>,
    instruction: Option<Instruction>,
    contact: report::Contact,
    /// What was last written down.
    last: Option<report::Status>,
    /// Before the gateway is called again after a failure.
    backoff: ExponentialBackoff,
}

impl Agent {
    /// Takes a device into care.
    ///
    /// # Errors
    /// `not_found` without a device in the folder or without nebula, `wrong_state` while another agent has it.
    pub(crate) fn open(options: Options) -> Result<Self> {
        let nothing = || {
            Error::new(Code::NotFound, format!("there is no device in {}", options.dir.display()))
                .hint("Make this machine one: nebulactl join --code CODE")
        };
        if state::identity(&options.dir)?.is_none() {
            return Err(nothing());
        }
        let folder = Folder::open(&options.dir)?;
        let identity = folder.identity()?.ok_or_else(nothing)?;
        let program = options.nebula.or_else(|| which("nebula").ok()).ok_or_else(|| {
            Error::new(Code::NotFound, "nebula is not on PATH").hint(
                "Install it: apt install nebula, or https://github.com/slackhq/nebula/releases; or name it with --nebula",
            )
        })?;
        let nebula = Nebula::new(&program, &folder, options.unit)?;
        let syncthing =
            options.syncthing.map(|options| Syncthing::new(options, folder.path())).transpose()?;
        Ok(Self {
            gateway: Arc::new(Gateway::new(&identity.server, folder.path())?),
            folder,
            identity,
            nebula,
            syncthing,
            traffic: Traffic::new(options.traffic.then(|| which("nft").ok()).flatten()),
            running: None,
            credentials: Vec::new(),
            refused: None,
            instruction: None,
            contact: report::Contact::default(),
            last: None,
            backoff: backoff::RETRY.build(),
        })
    }
}
