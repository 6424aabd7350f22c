//! `pool`: ranges of addresses for the devices of a project.

use clap::{Args, Subcommand};
use nebula_api::pool::{NewPool, PoolChanges, PoolUsage};
use serde_json::json;

use super::project;
use crate::confirm::Confirmation;
use crate::context::Context;
use crate::error::Result;
use crate::output::clean;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the address pools of a project and how full they are
    Ls(project::Choice),
    /// Add a pool to a project (operators)
    Create {
        /// Name, unique in the project
        name: String,
        /// The range, inside the project's network if that is of the same family
        range: String,
        /// Keep the first address back for a gateway
        #[arg(long)]
        reserve_gateway: bool,
        #[command(flatten)]
        project: project::Choice,
    },
    /// Extend a pool to a range around it, or shrink it to one that has all addresses in use (operators)
    #[command(visible_alias = "extend")]
    Resize {
        #[command(flatten)]
        pool: Pool,
        /// The new range
        range: String,
    },
    /// Let a pool give out addresses again (operators)
    Enable(Pool),
    /// Stop a pool from giving out addresses; those in use stay (operators)
    Disable(Pool),
    /// Remove a pool of which no address is in use or in quarantine (operators)
    Rm {
        #[command(flatten)]
        pool: Pool,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// A pool by name.
#[derive(Args, Debug)]
pub(crate) struct Pool {
    /// Name of the pool, as `pool ls` shows it
    #[arg(value_name = "POOL")]
    name: String,
    #[command(flatten)]
    project: project::Choice,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Ls(choice) => list(context, choice).await,
        Command::Create { name, range, reserve_gateway, project } => {
            let client = context.client()?;
            let project_id = project.resolve(&client).await?.project_id;
            let pool = NewPool { project_id, name, cidr: range, reserve_gateway };
            let created: PoolUsage = client.post("/api/pools", &pool).await?;
            context.output.confirm(&created, || described(&created))
        }
        Command::Resize { pool, range } => {
            change(context, pool, PoolChanges { cidr: Some(range), ..PoolChanges::default() }).await
        }
        Command::Enable(pool) => {
            change(context, pool, PoolChanges { enabled: Some(true), ..PoolChanges::default() }).await
        }
        Command::Disable(pool) => {
            change(context, pool, PoolChanges { enabled: Some(false), ..PoolChanges::default() }).await
        }
        Command::Rm { pool, confirmation } => remove(context, pool, confirmation).await,
    }
}

async fn list(context: &Context, choice: project::Choice) -> Result<()> {
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

async fn change(context: &Context, Pool { name, project }: Pool, changes: PoolChanges) -> Result<()> {
    let client = context.client()?;
    let query = [("projectId", project.resolve(&client).await?.project_id.to_string()), ("name", name)];
    let changed: PoolUsage = client.patch_with("/api/pools", &query, &changes).await?;
    context.output.confirm(&changed, || described(&changed))
}

async fn remove(context: &Context, Pool { name, project }: Pool, confirmation: Confirmation) -> Result<()> {
    let client = context.client()?;
    let project = project.resolve(&client).await?;
    if !confirmation
        .given(context, &format!("Remove the pool {} of {}?", clean(&name), clean(&project.name)))?
    {
        return Ok(());
    }
    let query = [("projectId", project.project_id.to_string()), ("name", name.clone())];
    client.delete_with("/api/pools", &query).await?;
    context.output.confirm(&json!({ "name": name }), || format!("The pool {} is gone.", clean(&name)))
}

fn described(pool: &PoolUsage) -> String {
    let disabled = if pool.enabled { "" } else { "; it gives out none" };
    format!("The pool {} has {}: {} addresses free{disabled}.", clean(&pool.name), pool.cidr, pool.free)
}
