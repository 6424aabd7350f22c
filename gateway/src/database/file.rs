//! Files: recording uploads, listing, places, tags, location of the bytes.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use nebula_api::file::{File, Place, UploadQuery};
use nebula_api::folder::Tag;
use serde_json::{Value, json};
use uuid::Uuid;

use super::proof::Account;
use super::query::{GenericClient, map_rows, query, query_one};
use crate::error::ApiError;

/// An upload whose bytes are in the store.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    /// Chosen by the gateway because it is part of the storage key.
    pub(crate) file_id: Uuid,
    pub(crate) project_id: Uuid,
    pub(crate) folder: &'a str,
    /// File name, without folders.
    pub(crate) name: &'a str,
    pub(crate) size: u64,
    pub(crate) sha256: &'a [u8],
    /// Media type recognised from the bytes.
    pub(crate) content_type: &'a str,
    pub(crate) storage_key: &'a str,
    /// Whether the worker makes renditions.
    pub(crate) media: bool,
    /// Uploads that end with it.
    pub(crate) ended: &'a [Uuid],
}

/// The bytes of a file or of one of its renditions: storage key and response headers.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) storage_key: String,
    /// Where the bytes begin in that object.
    pub(crate) first_byte: u64,
    pub(crate) size: u64,
    /// Strong, without quotes: the SHA-256 where it is known.
    pub(crate) etag: String,
    pub(crate) content_type: String,
    /// Name to save it under.
    pub(crate) name: String,
    /// When these bytes were made.
    pub(crate) modified_at: DateTime<Utc>,
}

/// A file as a later upload of its name meets it.
#[derive(Debug)]
pub(crate) struct NamedFile {
    pub(crate) file_id: Uuid,
    pub(crate) size: u64,
    pub(crate) sha256: Vec<u8>,
    pub(crate) storage_key: String,
}

/// The file that has the place of this upload, if the account may upload into the project. Called before the
/// first byte is read. Fails with 401 unknown or disabled account, 403 not a member, 404 no such project.
pub(crate) async fn named(
    client: &impl GenericClient,
    actor: &Account,
    upload: &UploadQuery,
) -> Result<Option<NamedFile>, ApiError> {
    let sql = "SELECT * FROM nebula.named_file(nebula.actor($1), $2, $3, $4)";
    let rows = query(client, sql, &[&actor, &upload.project_id, &upload.folder, &upload.name]).await?;
    let files = map_rows(&rows, |row| {
        Ok(NamedFile {
            file_id: row.try_get("file_id")?,
            size: row.try_get::<_, i64>("size")?.unsigned_abs(),
            sha256: row.try_get("sha256")?,
            storage_key: row.try_get("storage_key")?,
        })
    })?;
    Ok(files.into_iter().next())
}

/// The row of an upload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded {
    pub(crate) file_id: Uuid,
    /// Whether this call made the row; a retry with the same name and bytes finds the existing file.
    pub(crate) is_new: bool,
    /// Whether files have the bytes at the storage key of the upload; otherwise the project had them already.
    pub(crate) has_bytes: bool,
}

/// Records a stored upload. Fails with 409 when the name is taken by other bytes, 400 for a malformed name,
/// and as [`named`].
pub(crate) async fn create(
    client: &impl GenericClient,
    actor: &Account,
    upload: &Upload<'_>,
    address: Option<IpAddr>,
) -> Result<Recorded, ApiError> {
    let sql = "SELECT file_id, created, stored
                 FROM nebula.create_file(nebula.actor($1), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    let size = i64::try_from(upload.size).map_err(|_| ApiError::bad_argument("no file is that large"))?;
    let row = query_one(
        client,
        sql,
        &[
            &actor,
            &upload.file_id,
            &upload.project_id,
            &upload.folder,
            &upload.name,
            &size,
            &upload.sha256,
            &upload.content_type,
            &upload.storage_key,
            &upload.media,
            &address,
            &upload.ended,
        ],
    )
    .await?;
    Ok(Recorded { file_id: row.try_get(0)?, is_new: row.try_get(1)?, has_bytes: row.try_get(2)? })
}

/// Which files, and in which order.
#[derive(Debug)]
pub(crate) struct FileQuery<'a> {
    pub(crate) project_id: Option<Uuid>,
    /// Fields of the filter of `nebula.list_files`.
    pub(crate) filter: &'a Value,
    /// `name`, `date`, `size`, `duration` or, in the trash, `deleted`.
    pub(crate) sort: &'a str,
    pub(crate) is_descending: bool,
    /// Key and identifier of the last file of the page before.
    pub(crate) after: Option<&'a Value>,
    pub(crate) max: Option<i32>,
}

/// Files the account sees, with their keys in this order.
pub(crate) async fn list(
    client: &impl GenericClient,
    actor: &Account,
    asked: &FileQuery<'_>,
) -> Result<Vec<(File, String)>, ApiError> {
    let FileQuery { project_id, filter, sort, is_descending, after, max } = asked;
    let sql = "SELECT * FROM nebula.list_files(nebula.actor($1), $2, $3, $4, $5, $6, $7)";
    let rows = query(client, sql, &[&actor, project_id, filter, sort, is_descending, after, max]).await?;
    rows.iter()
        .map(|row| {
            let renditions = serde_json::from_value(row.try_get("renditions")?)
                .map_err(|error| ApiError::internal(&error))?;
            let sentences =
                |name| serde_json::from_value(row.try_get(name)?).map_err(|error| ApiError::internal(&error));
            let duration: f64 = row.try_get("duration")?;
            let file = File {
                file_id: row.try_get("file_id")?,
                project_id: row.try_get("project_id")?,
                folder: row.try_get("folder")?,
                name: row.try_get("name")?,
                size: row.try_get("size")?,
                sha256: row.try_get("sha256")?,
                content_type: row.try_get("content_type")?,
                kind: row.try_get("kind")?,
                duration: (duration > 0.0).then_some(duration),
                tags: row.try_get("tags")?,
                owner: row.try_get("owner")?,
                uploaded_at: row.try_get("uploaded_at")?,
                deleted_at: row.try_get("deleted_at")?,
                resume_at: row.try_get("resume_at")?,
                state: row.try_get("state")?,
                progress: row.try_get("progress")?,
                error: row.try_get("error")?,
                job_id: row.try_get("job_id")?,
                renditions,
                summary: sentences("summary")?,
                warnings: sentences("warnings")?,
            };
            Ok((file, row.try_get("sort_key")?))
        })
        .collect()
}

/// One file, if the account sees it and it is not in the trash.
pub(crate) async fn find(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
) -> Result<Option<File>, ApiError> {
    let filter = json!({ "fileId": file_id });
    let asked = FileQuery {
        project_id: None,
        filter: &filter,
        sort: "date",
        is_descending: true,
        after: None,
        max: None,
    };
    Ok(list(client, actor, &asked).await?.pop().map(|(file, _)| file))
}

/// Gives a file another place. Fails with 404, 409 when it is taken, 400 for a malformed one.
pub(crate) async fn relocate(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    place: &Place,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.move_file(nebula.actor($1), $2, $3, $4, $5)";
    query_one(client, sql, &[&actor, &file_id, &place.folder, &place.name, &address]).await.map(drop)
}

/// Converts a file once more, or keeps it as it was uploaded. Fails with 404, 409 if its conversion has not failed.
pub(crate) async fn convert(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    wanted: bool,
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.convert_file(nebula.actor($1), $2, $3, $4)";
    query_one(client, sql, &[&actor, &file_id, &wanted, &address]).await.map(drop)
}

/// Sets the tags of a file. Fails with 404, 400 for malformed ones.
pub(crate) async fn tag(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    tags: &[String],
    address: Option<IpAddr>,
) -> Result<(), ApiError> {
    let sql = "SELECT nebula.tag_file(nebula.actor($1), $2, $3, $4)";
    query_one(client, sql, &[&actor, &file_id, &tags, &address]).await.map(drop)
}

/// The tags of a project.
pub(crate) async fn tags(
    client: &impl GenericClient,
    actor: &Account,
    project_id: Uuid,
) -> Result<Vec<Tag>, ApiError> {
    let rows =
        query(client, "SELECT * FROM nebula.list_tags(nebula.actor($1), $2)", &[&actor, &project_id]).await?;
    map_rows(&rows, |row| Ok(Tag { tag: row.try_get("tag")?, files: row.try_get("files")? }))
}

/// Location of the bytes: of a rendition by its kind, `original` for the upload, `None` for the one that
/// plays best. Fails with 404 when there is no such file or rendition, or the account may not see it.
pub(crate) async fn content(
    client: &impl GenericClient,
    actor: &Account,
    file_id: Uuid,
    rendition: Option<&str>,
) -> Result<Content, ApiError> {
    let row = query_one(
        client,
        "SELECT * FROM nebula.file_content(nebula.actor($1), $2, $3)",
        &[&actor, &file_id, &rendition],
    )
    .await?;
    let sha256: Vec<u8> = row.try_get("sha256")?;
    Ok(Content {
        storage_key: row.try_get("storage_key")?,
        first_byte: 0,
        // A CHECK of the table keeps it positive.
        size: row.try_get::<_, i64>("size")?.unsigned_abs(),
        etag: hex::encode(sha256),
        content_type: row.try_get("content_type")?,
        name: row.try_get("name")?,
        modified_at: row.try_get("modified_at")?,
    })
}
