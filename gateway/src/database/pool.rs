//! Pools: usage and changes.

use std::net::IpAddr;

use nebula_api::pool::{NewPool, PoolChanges, PoolMap, PoolUsage};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// Usage of the pools the account sees, of one project or all.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
) -> Result<Vec<PoolUsage>, ApiError> {
    map_rows(
        &query(client, "SELECT * FROM nebula.list_pools(nebula.actor($1), $2)", &[&actor, &project_id])
            .await?,
        |row| {
            Ok(PoolUsage {
                pool_id: row.try_get("pool_id")?,
                project_id: row.try_get("project_id")?,
                name: row.try_get("name")?,
                cidr: row.try_get("cidr")?,
                size: row.try_get("size")?,
                reserved: row.try_get("reserved")?,
                allocated: row.try_get("allocated")?,
                quarantined: row.try_get("quarantined")?,
                free: row.try_get("free")?,
                enabled: row.try_get("enabled")?,
            })
        },
    )
}

/// Creates a pool. Fails with 403 not an operator, 404 no such project, 409 the name or the range is taken, 400 a range
/// that cannot be.
pub(crate) async fn create(
    client: &impl GenericClient,
    actor: &Account,
    NewPool { project_id, name, cidr, reserve_gateway }: &NewPool,
    address: Option<IpAddr>,
) -> Result<PoolUsage, ApiError> {
    let sql = "SELECT nebula.create_pool_for(nebula.actor($1), $2, $3, $4, $5, $6)";
    query(client, sql, &[&actor, project_id, name, cidr, reserve_gateway, &address]).await?;
    named(client, actor, *project_id, name).await
}

/// Changes the range of a pool, or whether it gives out addresses. Fails with 403 not an operator, 404 no such pool, 409
/// addresses outside the new range are held, 400 a range that cannot be.
pub(crate) async fn change(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    name: &str,
    changes: &PoolChanges,
    address: Option<IpAddr>,
) -> Result<PoolUsage, ApiError> {
    let sql = "SELECT nebula.change_pool_for(nebula.actor($1), $2, $3, $4, $5)";
    query(client, sql, &[&actor, &project_id, &name, &Json(changes), &address]).await?;
    named(client, actor, project_id, name).await
}

/// Removes a pool. Fails with 403 not an operator, 404 no such pool, 409 its addresses are held or in quarantine.
pub(crate) async fn remove(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    name: &str,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.drop_pool_for(nebula.actor($1), $2, $3, $4)";
    query(client, sql, &[&actor, &project_id, &name, &address]).await.map(drop)
}

async fn named(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
    name: &str,
) -> Result<PoolUsage, ApiError> {
    let pool = list(client, actor, Some(project_id)).await?.into_iter().find(|pool| pool.name == name);
    pool.ok_or_else(|| {
        ApiError::not_found("the pool was removed meanwhile").hint("List them: GET /api/pools.")
    })
}

/// How addresses of a pool are used. Fails with 404 if the account sees no such pool, 400 if the network is not in it.
pub(crate) async fn map(
    client: &impl GenericClient,
    actor: &Account,
    pool_id: i32,
    prefix: Option<&str>,
) -> Result<PoolMap, ApiError> {
    let sql = "SELECT nebula.pool_map(nebula.actor($1), $2, $3)";
    let Json(map) = query_one(client, sql, &[&actor, &pool_id, &prefix]).await?.try_get(0)?;
    Ok(map)
}
