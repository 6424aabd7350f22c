//! `route`: networks that the devices of a project reach through one of them.

use clap::Subcommand;
use nebula_api::device::Device;
use nebula_api::firewall::Route;
use serde_json::json;

use super::{device, project};
use crate::context::Context;
use crate::error::Result;
use crate::output::clean;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the routes of a project
    Ls(project::Choice),
    /// Let all devices reach a network through one of them (administrators)
    Add {
        /// The network, for example 192.168.1.0/24
        network: String,
        /// Name or id of the device that forwards into it
        #[arg(long, value_name = "DEVICE")]
        via: String,
        /// MTU of the route [default: that of the overlay]
        #[arg(long)]
        mtu: Option<i32>,
        /// Metric of the route [default: behind those of the machine itself]
        #[arg(long)]
        metric: Option<i32>,
        #[command(flatten)]
        project: project::Choice,
    },
    /// Remove a route (administrators)
    Rm {
        /// The network, as `route ls` shows it
        network: String,
        #[command(flatten)]
        project: project::Choice,
    },
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let client = context.client()?;
    match command {
        Command::Ls(choice) => {
            let query = [("projectId", choice.resolve(&client).await?.project_id.to_string())];
            let routes: Vec<Route> = client.get("/api/routes", &query).await?;
            let devices: Vec<Device> = client.get("/api/devices", &query).await?;
            context.output.show(&routes, || {
                let rows = routes.iter().map(|route| {
                    let number =
                        |value: Option<i32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
                    let via = device::name_in(&devices, route.device_id);
                    [route.network.clone(), via, number(route.mtu), number(route.metric)]
                });
                context.output.table(["NETWORK", "VIA", ">MTU", ">METRIC"], rows.collect())
            })
        }
        Command::Add { network, via, mtu, metric, project } => {
            let via = device::named(&client, &project, &via).await?;
            let route = Route { project_id: via.project_id, network, device_id: via.device_id, mtu, metric };
            let added: Route = client.post("/api/routes", &route).await?;
            context.output.confirm(&added, || {
                format!(
                    "All devices reach {} through {}, which must forward packets: sysctl net.ipv4.ip_forward=1",
                    clean(&added.network),
                    clean(&via.name)
                )
            })
        }
        Command::Rm { network, project } => {
            let project = project.resolve(&client).await?.project_id.to_string();
            client
                .delete_with("/api/routes", &[("projectId", project), ("network", network.clone())])
                .await?;
            context
                .output
                .confirm(&json!({ "network": network }), || format!("{network} has no route any more."))
        }
    }
}
