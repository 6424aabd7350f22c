//! Pools: usage.

use nebula_api::pool::PoolUsage;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query};
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
