//! The database's view of the storage: its own disk, keys that belong to a file, changes of state on record.

use nebula_api::system::Storage;
use nebula_storage::{Reserve, Room};
use serde_json::Value;

use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// Room on the disks of the database, of data and of the log: that of the fuller one.
pub(crate) async fn disk_room(
    client: &impl GenericClient,
    reserve: Reserve,
) -> Result<Option<Room>, ApiError> {
    let rows = query(
        client,
        "SELECT size, free, inodes, free_inodes FROM nebula.disk_room_for(nebula.actor($1))",
        &[client.gateway()],
    )
    .await?;
    let rooms = map_rows(&rows, |row| {
        let bytes = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
        let size = bytes("size")?;
        let inodes = (bytes("inodes")?, bytes("free_inodes")?);
        Ok(Room {
            size,
            free: bytes("free")?,
            reserve: reserve.bytes(size),
            inodes: (inodes.0 > 0).then_some(inodes),
            read_only: false,
        })
    })?;
    Ok(rooms.into_iter().min_by_key(Room::left))
}

/// Filters storage keys: leaves those that belong to no file, no rendition and no unfinished job.
pub(crate) async fn unknown_objects(
    client: &impl GenericClient,
    keys: &[String],
) -> Result<Vec<String>, ApiError> {
    let rows =
        query(client, "SELECT nebula.unknown_objects(nebula.actor($1), $2)", &[client.gateway(), &keys])
            .await?;
    map_rows(&rows, |row| row.try_get(0))
}

/// Records that a part has another state, unless that is the last one on record.
pub(crate) async fn record_state(
    client: &impl GenericClient,
    part: &str,
    state: &str,
    detail: &Value,
) -> Result<(), ApiError> {
    query(
        client,
        "SELECT nebula.record_state_for(nebula.actor($1), $2, $3, $4)",
        &[client.gateway(), &part, &state, detail],
    )
    .await
    .map(drop)
}

/// Findings of the last scrub of the storage.
pub(crate) async fn scrub_status(client: &impl GenericClient) -> Result<Storage, ApiError> {
    let row =
        query_one(client, "SELECT * FROM nebula.scrub_status(nebula.actor($1))", &[client.gateway()]).await?;
    Ok(Storage {
        missing: row.try_get("missing")?,
        changed: row.try_get("changed")?,
        untracked: row.try_get("untracked")?,
        untracked_bytes: row.try_get("untracked_bytes")?,
        scrubbed_at: row.try_get("finished_at")?,
    })
}

/// Has the storage scrubbed at the times of a cron expression, or never if that is empty.
pub(crate) async fn schedule_scrub(client: &impl GenericClient, cron: &str) -> Result<(), ApiError> {
    query(client, "SELECT nebula.schedule_scrub(nebula.actor($1), $2)", &[client.gateway(), &cron])
        .await
        .map(drop)
}
