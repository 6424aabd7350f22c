//! Files: names and folders, looking up, pages of the list.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use nebula_api::file::{File, Place};
use nebula_api::{Page, file_name};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::database::file::{self as database, FileQuery};
use crate::database::{Account, Client, Database};
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

/// An order of files as clients write it: `name`, or `-name` from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order<'a> {
    sort: &'a str,
    is_descending: bool,
}

impl<'a> Order<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        match text.strip_prefix('-') {
            Some(sort) => Self { sort, is_descending: true },
            None => Self { sort: text, is_descending: false },
        }
    }
}

/// Where a page begins: behind this file.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// The order, which the other pages must have, too.
    o: String,
    /// Key and identifier of the file.
    a: (String, Uuid),
}

/// A page of files in an order (`-date` unless it is named); all files without `max`.
pub(crate) async fn page(
    client: &Client,
    account: &Account,
    project_id: Option<Uuid>,
    filter: &Value,
    order: &str,
    (cursor, max): (Option<&str>, Option<i32>),
) -> Result<Page<File>, ApiError> {
    let Order { sort, is_descending } = Order::parse(order);
    let after = cursor.map(|cursor| behind(cursor, order)).transpose()?;
    let max = max.map(|max| max.clamp(1, 1000));
    // One more than wanted tells whether there is another page.
    let asked = FileQuery {
        project_id,
        filter,
        sort,
        is_descending,
        after: after.as_ref(),
        max: max.map(|max| max + 1),
    };
    let mut files = database::list(client, account, &asked).await?;
    let wanted = max.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
    let is_last = files.len() <= wanted;
    files.truncate(wanted);
    let next = files.last().filter(|_| !is_last).map(|(file, key)| {
        let cursor = Cursor { o: order.to_owned(), a: (key.clone(), file.file_id) };
        BASE64_URL_SAFE_NO_PAD.encode(json!(cursor).to_string())
    });
    Ok(Page { success: true, data: files.into_iter().map(|(file, _)| file).collect(), next })
}

fn behind(cursor: &str, order: &str) -> Result<Value, ApiError> {
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
    let read = decoded.and_then(|bytes| serde_json::from_slice::<Cursor>(&bytes).ok());
    read.filter(|read| read.o == order).map(|read| json!(read.a)).ok_or_else(|| {
        ApiError::bad_argument("this is no cursor of such a list")
            .hint("Take `next` of the page before, with the same sort and filters.")
    })
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
    file_name::fault(name).map_or(Ok(()), |fault| Err(refused(name, "the name of a file", fault)))
}

/// The same for a folder.
pub(crate) fn check_folder(folder: &str) -> Result<(), ApiError> {
    file_name::folder_fault(folder).map_or(Ok(()), |fault| Err(refused(folder, "a folder", fault)))
}

fn refused(text: &str, what: &str, fault: &str) -> ApiError {
    let shown: String = text.chars().take(80).collect();
    ApiError::bad_argument(format!("{shown:?} cannot be {what}")).hint(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_goes_on_in_the_order_that_it_was_made_in_alone() {
        let id = Uuid::from_u128(7);
        let cursor = Cursor { o: "-size".to_owned(), a: ("7".to_owned(), id) };
        let cursor = BASE64_URL_SAFE_NO_PAD.encode(json!(cursor).to_string());
        assert_eq!(behind(&cursor, "-size").unwrap(), json!(["7", id]));
        for (cursor, order) in [(cursor.as_str(), "size"), ("", "-size"), ("%", "-size"), ("e30", "-size")] {
            assert!(behind(cursor, order).unwrap_err().failure().hint.is_some(), "{cursor} {order}");
        }
    }

    #[test]
    fn an_order_begins_with_a_minus_when_it_is_from_the_end() {
        assert_eq!(Order::parse("name"), Order { sort: "name", is_descending: false });
        assert_eq!(Order::parse("-size"), Order { sort: "size", is_descending: true });
    }
}
