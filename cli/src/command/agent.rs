//! `agent`: keeps this device in the state that the gateway wants it in.

use std::path::PathBuf;

use clap::Args;

use crate::agent::nebula::machine::parse_interface;
use crate::agent::syncthing::SyncthingSetup;
use crate::agent::{self, AgentOptions};
use crate::device_folder::existing_folder;
use crate::error::Result;

#[derive(Args, Debug)]
pub(crate) struct Agent {
    /// Folder of the device [default: /etc/nebula for root, else ./nebula-NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The daemon to run [default: nebula on PATH]
    #[arg(long, value_name = "PATH")]
    nebula: Option<PathBuf>,
    /// Let this unit of systemd run nebula, and only reload or restart it
    #[arg(long, value_name = "NAME")]
    unit: Option<String>,
    /// Start this Syncthing as well, for the project's shared folder
    #[arg(long, value_name = "PATH")]
    syncthing: Option<PathBuf>,
    /// Home of the Syncthing to look after; one that is already running unless --syncthing is given as well
    /// [default: syncthing/ in the device's folder]
    #[arg(long, value_name = "DIR")]
    syncthing_home: Option<PathBuf>,
    /// Name of the network interface [default: the project's, or another one if a program here has that]
    #[arg(long, value_name = "NAME", value_parser = parse_interface)]
    dev: Option<String>,
    /// Do not count bytes per peer; counting uses a table of nftables, where nft is installed
    #[arg(long)]
    no_traffic: bool,
    /// Leave the resolver of this machine alone; else systemd-resolved asks the lighthouses for names of the
    /// project's domain
    #[arg(long)]
    no_dns: bool,
    /// The folder to share with the project's other devices [default: shared/ in the device's folder]
    #[arg(long, value_name = "DIR")]
    share: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Agent) -> Result<()> {
    let Agent { dir, nebula, unit, syncthing, syncthing_home, dev, no_traffic, no_dns, share } = arguments;
    let wanted = syncthing.is_some() || syncthing_home.is_some();
    let options = AgentOptions {
        dir: dir.unwrap_or_else(existing_folder),
        nebula,
        unit,
        interface: dev,
        traffic: !no_traffic,
        dns: !no_dns,
        syncthing: wanted.then_some(SyncthingSetup { program: syncthing, home: syncthing_home, share }),
    };
    agent::Agent::open(options)?.run().await
}
