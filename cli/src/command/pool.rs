//! `pool`.

use clap::Subcommand;
use nebula_api::pool::PoolUsage;

use super::project;
use crate::context::Context;
use crate::error::Result;
use crate::output::clean;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the address pools of a project and how full they are
    Ls(project::Choice),
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    let Command::Ls(choice) = command;
    let client = context.client()?;
    let project = choice.resolve(&client).await?;
    let pools: Vec<PoolUsage> =
        client.get("/api/pools", &[("projectId", project.project_id.to_string())]).await?;
    context.output.show(&pools, || {
        let rows = pools.iter().map(|pool| {
            let PoolUsage { cidr, size, reserved, allocated, quarantined, free, .. } = pool.clone();
            let state = if pool.enabled { "enabled" } else { "disabled" }.to_owned();
            [clean(&pool.name), cidr, size, reserved, allocated, quarantined, free, state]
        });
        let headings =
            ["NAME", "RANGE", ">SIZE", ">RESERVED", ">ALLOCATED", ">QUARANTINED", ">FREE", "STATE"];
        context.output.table(headings, rows.collect())
    })
}
