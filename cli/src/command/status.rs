//! `status`: who am I, where, and who else is there.

use nebula_api::auth::Identity;
use nebula_api::device::Device;
use nebula_api::health::Health;
use serde_json::json;

use super::{Context, device, project};
use crate::client;
use crate::error::Result;
use crate::output::clean;

/// Shows identity, gateway, and the devices of every project the account sees.
///
/// # Errors
/// Whatever the gateway says.
pub(crate) async fn run(context: &Context) -> Result<()> {
    let client = context.client()?;
    let identity: Identity = client.get("/api/auth/me", &[]).await?;
    let health: Health = client::json(client.get_public("/health/live").await?).await?;
    let mut projects = Vec::new();
    for project in project::all(&client).await? {
        let query = [("projectId", project.project_id.to_string())];
        let devices: Vec<Device> = client.get("/api/devices", &query).await?;
        projects.push((project, devices));
    }
    let value = json!({
        "server": client.server(),
        "version": health.version,
        "identity": identity,
        "projects": projects.iter().map(|(project, devices)| json!({ "project": project, "devices": devices })).collect::<Vec<_>>(),
    });
    context.output.show(&value, || {
        let mut lines = vec![
            format!("Server    {} (nebula-gateway {})", client.server(), clean(&health.version)),
            format!("Account   {} ({})", clean(&identity.username), clean(&identity.role)),
        ];
        for (project, devices) in &projects {
            let network = project.cidr.as_deref().map(|cidr| format!(", {cidr}")).unwrap_or_default();
            let (name, count) = (clean(&project.name), devices.len());
            lines.push(format!("Project   {name}{network}: {count} devices, {} files", project.files));
            if !devices.is_empty() {
                lines.push(format!("\n{}\n", device::table(context.output, devices)));
            }
        }
        lines.join("\n").trim_end().to_owned()
    })
}
