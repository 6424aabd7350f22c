//! Files: names and folders, looking up, pages of the list.

use nebula_api::file::{File, Place};
use nebula_api::{Page, file_name};
use serde_json::Value;
use uuid::Uuid;

use crate::database::file::{self as database, FileQuery};
use crate::database::{Account, Client, Database};
use crate::domain::page::{self, Wanted};
use crate::error::ApiError;

/// The storage prefix of an upload and of everything that is made from it.
pub(crate) fn storage_prefix(content_id: Uuid) -> String {
    format!("files/{content_id}")
}

/// One file, if the account sees it and it is not in the trash; else fails with 404.
pub(crate) async fn find(connections: &Database, account: &Account, file_id: Uuid) -> Result<File, ApiError> {
    let client = connections.client().await?;
    match database::find(&client, account, file_id).await? {
        Some(file) => Ok(file),
        // Says so, where it is in the trash.
        None => Err(match database::content(&client, account, file_id, Some("original")).await {
            Err(error) => error,
            Ok(_) => ApiError::not_found(format!("there is no file {file_id}")),
        }),
    }
}

/// A page of files in an order (`-date` unless it is named); all files without `max`.
pub(crate) async fn page(
    client: &Client,
    account: &Account,
    project_id: Option<Uuid>,
    filter: &Value,
    place: page::Place<'_>,
) -> Result<Page<File>, ApiError> {
    let wanted = Wanted::parse(place, "-date")?;
    let asked = FileQuery {
        project_id,
        filter,
        sort: wanted.sort(),
        is_descending: wanted.is_descending(),
        after: wanted.after.as_ref(),
        max: wanted.limit(),
    };
    let files = database::list(client, account, &asked).await?;
    Ok(wanted.cut(files, |file| file.file_id.to_string()))
}

/// Composes the letters of a place and checks it, before the database is asked. Fails with 400.
pub(crate) fn place(mut place: Place) -> Result<Place, ApiError> {
    place.folder = place.folder.map(|folder| file_name::composed(&folder));
    place.name = place.name.map(|name| file_name::composed(&name));
    place.folder.as_deref().map(check_folder).transpose()?;
    place.name.as_deref().map(check_name).transpose()?;
    Ok(place)
}

/// The same rule as the database's, checked before gigabytes are sent for nothing.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    file_name::fault(name)
        .map_or(Ok(()), |fault| Err(refused(name, "the name of a file", fault).field("name")))
}

/// The same for a folder.
pub(crate) fn check_folder(folder: &str) -> Result<(), ApiError> {
    file_name::folder_fault(folder)
        .map_or(Ok(()), |fault| Err(refused(folder, "a folder", fault).field("folder")))
}

fn refused(text: &str, what: &str, fault: &str) -> ApiError {
    let shown: String = text.chars().take(80).collect();
    ApiError::bad_argument(format!("{shown:?} cannot be {what}")).hint(fault)
}
