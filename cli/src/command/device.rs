//! `device`.

use chrono::Utc;
use clap::Subcommand;
use nebula_api::device::{Device, Release};
use nebula_api::project_options::Groups;
use serde_json::json;
use uuid::Uuid;

use super::project;
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::{Code, Error, Result};
use crate::output::{Output, ago, clean};

mod revoke;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the devices of a project
    Ls(project::Choice),
    /// Set the groups of a device, by which firewall rules tell devices apart (administrators)
    Groups {
        /// Name or id of the device
        device: String,
        /// All its groups; none: it is in no group any more
        groups: Vec<String>,
        #[command(flatten)]
        project: project::Choice,
    },
    /// Revoke a device permanently, and wait until every other device knows (administrators)
    Revoke {
        /// Name or id of the device
        device: String,
        #[command(flatten)]
        project: project::Choice,
        /// Do not wait until every device knows
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Release a device's address; it is assigned again once no valid certificate names it
    /// (administrators)
    Release {
        /// Name or id of the device
        device: String,
        #[command(flatten)]
        project: project::Choice,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Ls(choice) => {
            let devices = of_project(&client, &choice).await?;
            context.output.show(&devices, || table(context.output, &devices))
        }
        Command::Groups { device, groups, project } => {
            let known = named(&client, &project, &device).await?;
            let path = format!("/api/devices/{}/groups", known.device_id);
            let set: Groups = client.put(&path, &Groups { groups }).await?;
            context.output.confirm(&set, || match set.groups.as_slice() {
                [] => format!("{} is in no group.", clean(&known.name)),
                groups => format!("{} is in {}.", clean(&known.name), clean(&groups.join(", "))),
            })
        }
        Command::Revoke { device, project, no_wait, confirmation } => {
            let known = named(&client, &project, &device).await?;
            let question = format!("Revoke {} permanently?", described(&known));
            if !confirmation.given(context, &question)? {
                return Ok(());
            }
            revoke::run(context, &known, !no_wait).await
        }
        Command::Release { device, project, confirmation } => {
            let known = named(&client, &project, &device).await?;
            let question = format!("Release the address of {}?", described(&known));
            if !confirmation.given(context, &question)? {
                return Ok(());
            }
            let path = format!("/api/nebula/release/{}", known.device_id);
            let release: Release = client.post(&path, &json!({})).await?;
            context.output.confirm(&release, || {
                format!("Released {} of {}.", clean(&release.nebula_ip), clean(&known.name))
            })
        }
    }
}

/// Name and address, for a question.
fn described(device: &Device) -> String {
    let address = device.nebula_ip.as_deref().map(|address| format!(" ({})", clean(address)));
    format!("{}{}", clean(&device.name), address.unwrap_or_default())
}

/// Name of a device, or its id if it is not among these.
pub(super) fn name_in(devices: &[Device], id: Uuid) -> String {
    let known = devices.iter().find(|device| device.device_id == id);
    known.map_or_else(|| id.to_string(), |device| clean(&device.name))
}

/// Finds a device of a project by name or id.
pub(crate) async fn named(client: &Client, choice: &project::Choice, device: &str) -> Result<Device> {
    let named =
        |known: &Device| known.name == device || known.device_id.to_string().eq_ignore_ascii_case(device);
    of_project(client, choice).await?.into_iter().find(named).ok_or_else(|| {
        Error::new(Code::NotFound, format!("there is no device \"{device}\" in the project"))
            .hint("List them: nebulactl device ls")
    })
}

async fn of_project(client: &Client, choice: &project::Choice) -> Result<Vec<Device>> {
    let project = choice.resolve(client).await?;
    client.get("/api/devices", &[("projectId", project.project_id.to_string())]).await
}

/// A table with one line per device.
pub(crate) fn table(output: Output, devices: &[Device]) -> String {
    let now = Utc::now();
    let rows = devices.iter().map(|device| {
        let address = device.nebula_ip.clone().unwrap_or_else(|| "-".to_owned());
        let state = if device.revoked_at.is_some() { "revoked" } else { &device.role };
        let until = device.certificate_not_after;
        let until = until.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d").to_string());
        let seen = device.last_seen_at.map_or_else(|| "-".to_owned(), |at| ago(at, now));
        let owner = device.owner.as_deref().unwrap_or("-");
        [clean(&device.name), address, clean(state), clean(owner), until, seen, device.device_id.to_string()]
    });
    output.table(["NAME", "ADDRESS", "ROLE", "OWNER", "CERTIFICATE UNTIL", "SEEN", "ID"], rows.collect())
}
