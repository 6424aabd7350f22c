//! Running statements and reading rows, the same way in every file of this folder.

use nebula_connect::FreeJson;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

pub(crate) use super::connection::GenericClient;
use crate::error::ApiError;

/// Runs a statement that answers rows.
pub(super) async fn query(
    client: &impl GenericClient,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, ApiError> {
    let client = client.connection();
    let statement = client.prepare(sql).await?;
    Ok(client.run(&statement, values).await?)
}

/// Runs a statement that answers at most one row.
pub(super) async fn query_opt(
    client: &impl GenericClient,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Option<Row>, ApiError> {
    Ok(query(client, sql, values).await?.pop())
}

/// Runs a statement that answers exactly one row.
pub(super) async fn query_one(
    client: &impl GenericClient,
    sql: &str,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Row, ApiError> {
    let row = query_opt(client, sql, values).await?;
    row.ok_or_else(|| ApiError::internal(&"the database answered no row where there is always one"))
}

/// Converts every row.
pub(super) fn map_rows<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<Vec<T>, ApiError> {
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// A column of JSON that comes from a user of SQL; none where it is null.
pub(super) fn free_json(row: &Row, column: &str) -> Result<Option<Value>, tokio_postgres::Error> {
    Ok(row.try_get::<_, Option<FreeJson>>(column)?.map(|FreeJson(value)| value))
}

/// One value of each item, for a function that takes an array.
pub(super) fn collect_column<'a, T, V>(items: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    items.iter().map(value).collect()
}
