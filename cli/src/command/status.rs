//! `status`: this machine's device, the account, the gateway, and the other devices.

use std::collections::HashSet;
use std::path::PathBuf;

use chrono::Utc;
use clap::Args;
use nebula_api::auth::Identity;
use nebula_api::device::Device;
use nebula_api::health::Health;
use nebula_api::project::Project;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{device, project};
use crate::client::{self, Client};
use crate::context::Context;
use crate::device_folder::existing_folder;
use crate::error::Result;
use crate::output::{clean, counted};
use bundled::Bundled;
use local::Local;

mod bundled;
mod local;

#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Folder of this machine's device [default: /etc/nebula for root, else ./nebula-NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    project: project::Choice,
}

/// The part that needs an account.
struct Remote {
    version: String,
    identity: Identity,
    projects: Vec<(Project, Vec<Device>)>,
}

/// Shows this machine's device and, with an account, the gateway, the projects, and the devices of the chosen
/// project.
pub(crate) async fn run(context: &Context, arguments: Status) -> Result<()> {
    let folder = arguments.dir.unwrap_or_else(existing_folder);
    let local = Local::read(&folder)?;
    let bundled = if local.is_none() { Bundled::read(&folder)? } else { None };
    let is_device = local.is_some() || bundled.is_some();
    let client = context.client()?;
    let remote = match remote(&client).await {
        Ok(remote) => Some(remote),
        // A machine without session and without device has a status, too.
        Err(error) if error.failure().error == "not_authenticated" => None,
        // A device needs no account, and its state is needed most while the gateway is away.
        Err(error) if is_device => {
            context.output.note(&error.to_string());
            None
        }
        Err(error) => return Err(error),
    };
    let mut value = remote.as_ref().map_or_else(|| json!({}), Remote::value);
    value["server"] = json!(client.server());
    value["device"] = match &bundled {
        Some(bundled) => json!(bundled),
        None => json!(local),
    };
    let chosen = match &remote {
        Some(remote) => {
            arguments.project.chosen(&client, remote.projects.iter().map(|(project, _)| project))?
        }
        None => None,
    };
    context.output.show(&value, || {
        let now = Utc::now();
        let local = local.as_ref().map(|local| local.text(context.output, &folder, now));
        let bundled = bundled.as_ref().map(|bundled| bundled.text(now));
        let none = (!is_device).then(|| {
            format!("Device    none in {}; make this machine one: nebulactl join", folder.display())
        });
        let remote = match &remote {
            Some(remote) => Some(remote.text(context, &client, chosen)),
            None if is_device => None,
            None => Some(format!(
                "Server    {}\nAccount   not signed in; sign in: nebulactl login",
                client.server()
            )),
        };
        [local, bundled, none, remote].into_iter().flatten().collect::<Vec<_>>().join("\n\n")
    })
}

async fn remote(client: &Client) -> Result<Remote> {
    let identity: Identity = client.get("/api/auth/me", &[]).await?;
    let health: Health = client::json(client.get_public("/health/live").await?).await?;
    let mut projects = Vec::new();
    for project in project::all(client).await? {
        let query = [("projectId", project.project_id.to_string())];
        let devices: Vec<Device> = client.get("/api/devices", &query).await?;
        projects.push((project, devices));
    }
    Ok(Remote { version: health.version, identity, projects })
}

impl Remote {
    fn value(&self) -> Value {
        let projects = self.projects.iter();
        let projects = projects.map(|(project, devices)| json!({ "project": project, "devices": devices }));
        json!({
            "version": self.version,
            "identity": self.identity,
            "projects": projects.collect::<Vec<_>>(),
        })
    }

    /// Devices are listed of the chosen project, or of all if none is.
    fn text(&self, context: &Context, client: &Client, chosen: Option<Uuid>) -> String {
        let Identity { username, role, .. } = &self.identity;
        let mut lines = vec![
            format!("Server    {} (nebula-gateway {})", client.server(), clean(&self.version)),
            format!("Account   {} ({})", clean(username), clean(role)),
        ];
        for (project, devices) in &self.projects {
            let network = project.cidr.as_deref().map(|cidr| format!(", {cidr}")).unwrap_or_default();
            // A device has a row for each of its addresses, and one that was revoked stays in the list.
            let living = devices.iter().filter(|device| device.revoked_at.is_none());
            let count = living.map(|device| device.device_id).collect::<HashSet<_>>().len();
            let name = clean(&project.name);
            let (count, files) = (counted(count as i64, "device"), counted(project.files, "file"));
            lines.push(format!("Project   {name}{network}: {count}, {files}"));
            if !devices.is_empty() && chosen.is_none_or(|id| id == project.project_id) {
                lines.push(format!("\n{}\n", device::table(context.output, devices)));
            }
        }
        lines.join("\n").trim_end().to_owned()
    }
}
