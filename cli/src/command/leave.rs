//! `leave`: this machine stops being a device.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use nebula_api::revocation::Revocation;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::agent::gateway::Gateway;
use crate::agent::process::Process;
use crate::agent::resolver;
use crate::agent::state::{self, AgentFolder};
use crate::agent::systemd::{AGENT_UNIT, is_unit_of, systemctl};
use crate::agent::wireguard;
use crate::atomic_file;
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::device_folder::{default_folder, existing_folder, no_device};
use crate::error::{Code, Doing, Error, Result};
use crate::output::clean;
use crate::settings::Settings;

use super::join::bundle_folder::{self, Membership};

/// Time the agent and its nebula may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// The agent's files in the folder; shared files are not removed.
const AGENT_FILES: &[&str] = &[
    "generations",
    "current",
    "update.json",
    "enrolment.json",
    "joined.json",
    "nebula.json",
    "node.json",
    "interface.json",
    resolver::RECORD,
    "nebula.log",
    "status.json",
    "syncthing",
    "syncthing.json",
    wireguard::FOLDER,
    "agent.json",
    "agent.lock",
];

#[derive(Args, Debug)]
pub(crate) struct Leave {
    /// Folder of the device [default: /etc/nebula for root, else ./nebula-NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Stops agent and nebula, tells the gateway if it is reachable, and removes keys and configuration.
pub(crate) async fn run(context: &Context, arguments: Leave) -> Result<()> {
    let path = arguments.dir.unwrap_or_else(existing_folder);
    let path = std::path::absolute(&path).doing(|| format!("find {}", path.display()))?;
    let Some(identity) = state::identity(&path)? else {
        let membership = bundle_folder::membership(&path)?.ok_or_else(|| no_device(&path))?;
        return without_agent(context, &path, &membership, arguments.confirmation).await;
    };
    let (name, network) = (clean(&identity.host.name), clean(&identity.network.name));
    let question = format!("Remove the keys of {name}, and leave {network} for good?");
    if !arguments.confirmation.given(context, &question)? {
        return Ok(());
    }
    stop(&path).await?;
    let folder = AgentFolder::open(&path)?;
    for (option, of) in [("-config", folder.config_path()), ("--home", folder.file("syncthing"))] {
        while let Some(mut left) = Process::find(option, &of) {
            left.stop(Duration::from_secs(5)).await?;
        }
    }
    resolver::take_back(&path).await;
    // Before the gateway is told: it releases what the peers of this node hold.
    wireguard::take_back(&path).await?;
    let notified = tell_gateway(&folder, &identity.server).await;
    match &notified {
        Ok(()) => {}
        Err(error) if error.status == Some(401) => {
            context.output.note("the gateway no longer knew this device, as after it was revoked");
        }
        Err(error) => context.output.note(&format!(
            "the gateway was not told: {error}. Its certificate stays valid until it expires or an administrator \
             revokes it."
        )),
    }
    remove(&path)?;
    if path == default_folder() {
        Settings::forget_machine_server(&identity.server)?;
    }
    let value = json!({ "deviceId": identity.host.id, "dir": path, "told": notified.is_ok() });
    context.output.confirm(&value, || format!("{name} has left {network}; its keys are gone."))
}

/// Leaves with a device that joined without a code. It has no key that signs calls: the account revokes it.
async fn without_agent(
    context: &Context,
    path: &Path,
    membership: &Membership,
    confirmation: Confirmation,
) -> Result<()> {
    let name = clean(&membership.device_name);
    if !confirmation.given(context, &format!("Remove the keys of {name}, and leave for good?"))? {
        return Ok(());
    }
    // The command that join prints names the configuration relative to the folder, so that another nebula may
    // run on unnoticed.
    while let Some(mut left) = Process::find("-config", &path.join("nebula.yml")) {
        left.stop(Duration::from_secs(5)).await?;
    }
    let client = Client::new(&membership.server, Settings::locate())?;
    let revoke = format!("/api/devices/{}/revoke", membership.device_id);
    let notified: Result<Revocation> = client.post(&revoke, &json!({})).await;
    if let Err(error) = &notified {
        context.output.note(&format!(
            "the gateway was not told: {error}. Its certificate stays valid until it expires or an administrator \
             revokes it: nebulactl device revoke {name}"
        ));
    }
    bundle_folder::clear(path)?;
    // Fails if other files are left in the folder, which is intended.
    let _ = fs::remove_dir(path);
    let value = json!({ "deviceId": membership.device_id, "dir": path, "told": notified.is_ok() });
    context
        .output
        .confirm(&value, || format!("{name} has left; its keys are gone. Stop its nebula if it runs."))
}

/// Stops the agent, which stops nebula. The unit is disabled first, because it would start the agent again.
async fn stop(path: &Path) -> Result<()> {
    let unit = Path::new("/etc/systemd/system").join(AGENT_UNIT);
    let text = atomic_file::read_if_exists(&unit)?.unwrap_or_default();
    if is_unit_of(&text, path) {
        systemctl(&["disable", "--now", AGENT_UNIT]).await?;
        atomic_file::remove_if_exists(&unit)?;
        systemctl(&["daemon-reload"]).await?;
    }
    let Some(holder) = AgentFolder::holder(path) else { return Ok(()) };
    let pid = i32::try_from(holder).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        kill_process(pid, Signal::TERM)
            .map_err(std::io::Error::from)
            .doing(|| format!("end the agent, process {holder}"))?;
    }
    let started = Instant::now();
    while AgentFolder::holder(path).is_some() {
        if started.elapsed() > STOP_TIMEOUT {
            return Err(Error::new(Code::WrongState, format!("the agent, process {holder}, does not end"))
                .hint("End it yourself, then leave again."));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Tells the gateway, signed by the newest key that it accepts.
async fn tell_gateway(folder: &AgentFolder, server: &str) -> Result<()> {
    let gateway = Gateway::new(server, folder.path())?;
    let mut refused = Error::new(Code::Damaged, "there is no key to sign with");
    for generation in folder.generations()? {
        match gateway.leave(&generation.credential).await {
            Err(error) if error.status == Some(401) => refused = error,
            done => return done,
        }
    }
    Err(refused)
}

fn remove(path: &Path) -> Result<()> {
    for name in AGENT_FILES {
        let path = path.join(name);
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).doing(|| format!("remove {}", path.display()));
            }
            _ => {}
        }
    }
    // Fails if other files are left in the folder, which is intended.
    let _ = fs::remove_dir(path);
    Ok(())
}
