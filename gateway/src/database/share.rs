//! Share links.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use nebula_api::share::Share;
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one, query_opt};
use crate::error::ApiError;

/// The place that a link leads to.
#[derive(Debug)]
pub(crate) enum Target {
    File(Uuid),
    /// Project and folder.
    Folder(Uuid, String),
}

/// A link that is to be made.
pub(crate) struct NewLink<'a> {
    pub(crate) target: &'a Target,
    pub(crate) token_hash: &'a [u8],
    /// Argon2id in PHC form.
    pub(crate) password_hash: Option<&'a str>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) allows_download: bool,
    pub(crate) note: Option<&'a str>,
}

/// A link as its token finds it.
pub(crate) struct FoundShare {
    pub(crate) share_id: Uuid,
    /// `open`, or why it opens nothing any more.
    pub(crate) state: String,
    /// When it was ended or ends.
    pub(crate) ended_at: Option<DateTime<Utc>>,
    /// None: what it led to was deleted for good.
    pub(crate) target: Option<Target>,
    /// The account whose rights it has.
    pub(crate) made_by: Uuid,
    pub(crate) password_hash: Option<String>,
    pub(crate) allows_download: bool,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

/// Makes a link. Fails with 404 if the account sees no such file or folder, 403 if it is no member of the folder's
/// project, 400.
pub(crate) async fn create(
    client: &impl GenericClient,
    actor: &Account,
    link: &NewLink<'_>,
    address: Option<IpAddr>,
) -> Result<Uuid, ApiError> {
    let NewLink { target, token_hash, password_hash, expires_at, allows_download, note } = link;
    let row = match target {
        Target::File(file_id) => {
            let sql = "SELECT nebula.create_share(nebula.actor($1), $2, $3, $4, $5, $6, $7, $8)";
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
                [&actor, file_id, token_hash, password_hash, expires_at, allows_download, note, &address];
            query_one(client, sql, &values).await?
        }
        Target::Folder(project_id, folder) => {
            let sql = "SELECT nebula.share_folder(nebula.actor($1), $2, $3, $4, $5, $6, $7, $8, $9)";
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 9] = [
                &actor,
                project_id,
                folder,
                token_hash,
                password_hash,
                expires_at,
                allows_download,
                note,
                &address,
            ];
            query_one(client, sql, &values).await?
        }
    };
    Ok(row.try_get(0)?)
}

/// Links of the projects that the account sees, newest first.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Option<Uuid>,
    file_id: Option<Uuid>,
) -> Result<Vec<Share>, ApiError> {
    let sql = "SELECT * FROM nebula.list_shares(nebula.actor($1), $2, $3)";
    map_rows(&query(client, sql, &[&actor, &project_id, &file_id]).await?, |row| {
        Ok(Share {
            share_id: row.try_get("share_id")?,
            project_id: row.try_get("project_id")?,
            file_id: row.try_get("file_id")?,
            file_name: row.try_get("file_name")?,
            folder: row.try_get("folder")?,
            made_by: row.try_get("made_by")?,
            note: row.try_get("note")?,
            has_password: row.try_get("has_password")?,
            allows_download: row.try_get("allows_download")?,
            made_at: row.try_get("made_at")?,
            expires_at: row.try_get("expires_at")?,
            revoked_at: row.try_get("revoked_at")?,
            last_used_at: row.try_get("last_used_at")?,
            uses: row.try_get("uses")?,
            state: row.try_get("state")?,
        })
    })
}

/// Ends a link. Fails with 404.
pub(crate) async fn revoke(
    client: &impl GenericClient,
    actor: &Account,
    share_id: Uuid,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    query(client, "SELECT nebula.revoke_share(nebula.actor($1), $2, $3)", &[&actor, &share_id, &address])
        .await
        .map(drop)
}

/// The link with a token.
pub(crate) async fn find(
    client: &impl GenericClient,
    token_hash: &[u8],
) -> Result<Option<FoundShare>, ApiError> {
    let row = query_opt(
        client,
        "SELECT * FROM nebula.find_share(nebula.actor($1), $2)",
        &[client.gateway(), &token_hash],
    )
    .await?;
    row.map(|row| {
        let (file, folder) = (row.try_get("file_id")?, row.try_get("folder")?);
        let project_id = row.try_get("project_id")?;
        Ok(FoundShare {
            share_id: row.try_get("share_id")?,
            state: row.try_get("state")?,
            ended_at: row.try_get("ended_at")?,
            target: match folder {
                Some(folder) => Some(Target::Folder(project_id, folder)),
                None => Option::map(file, Target::File),
            },
            made_by: row.try_get("made_by")?,
            password_hash: row.try_get("password_hash")?,
            allows_download: row.try_get("allows_download")?,
            expires_at: row.try_get("expires_at")?,
        })
    })
    .transpose()
}

/// Counts that a link was opened.
pub(crate) async fn used(client: &impl GenericClient, share_id: Uuid) -> Result<(), ApiError> {
    query(client, "SELECT nebula.use_share(nebula.actor($1), $2)", &[client.gateway(), &share_id])
        .await
        .map(drop)
}

/// Whether a link still opens a file.
pub(crate) async fn is_open(
    client: &impl GenericClient,
    share_id: Uuid,
    file_id: Uuid,
) -> Result<bool, ApiError> {
    Ok(query_one(
        client,
        "SELECT nebula.is_share_open(nebula.actor($1), $2, $3)",
        &[client.gateway(), &share_id, &file_id],
    )
    .await?
    .try_get(0)?)
}
