//! The requests of the protocol tus 1.0 (<https://tus.io/protocols>).

use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method, RequestBuilder, Response, Url};
use uuid::Uuid;

use super::source::Source;
use crate::client::Client;
use crate::error::{Code, Error, Result};

const VERSION: &str = "1.0.0";
/// For requests without content. A gateway that hashes a large upload answers others meanwhile.
const TIMEOUT: Duration = Duration::from_secs(30);
/// For the last bytes: the gateway may have to hash a whole upload, and waits for its database for 90 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

/// Where an upload is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// The file that it has become.
    pub(super) file: Option<Uuid>,
    /// The project had this file, or its bytes, already.
    pub(super) known: Option<Known>,
}

/// The part of a finished upload that the project had already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    File,
    Content,
}

/// An upload that was begun.
#[derive(Debug)]
pub(super) struct Begun {
    /// Path below the gateway's address.
    pub(super) url: String,
    /// A file of this name and size is there.
    pub(super) same_name: Option<Uuid>,
}

pub(super) async fn create(client: &Client, project: Uuid, source: &Source) -> Result<Begun> {
    let metadata = metadata(project, source);
    let build = || {
        let request = tus(client, Method::POST, "/api/uploads").timeout(TIMEOUT);
        Ok(request.header("Upload-Length", source.size).header("Upload-Metadata", &metadata))
    };
    let response = client.send(build).await?;
    let url = text(&response, LOCATION.as_str()).and_then(path).ok_or_else(|| odd("Location"))?;
    Ok(Begun { url, same_name: text(&response, "Nebula-Same-Name").and_then(file_id) })
}

/// Where an upload goes on; `None` if the gateway has it no longer.
pub(super) async fn place(client: &Client, url: &str) -> Result<Option<Place>> {
    match client.send(|| Ok(tus(client, Method::HEAD, url).timeout(TIMEOUT))).await {
        Ok(response) => read_place(&response).map(Some),
        Err(error) if matches!(error.status, Some(404 | 410)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends the bytes from an offset on. A request whose token is refused is repeated, so `body` makes it anew.
pub(super) async fn append(
    client: &Client,
    url: &str,
    (offset, length): (u64, u64),
    body: impl Fn() -> Body,
) -> Result<Place> {
    let build = || {
        let request = tus(client, Method::PATCH, url).header("Upload-Offset", offset);
        let request = request.header(CONTENT_TYPE, "application/offset+octet-stream");
        Ok(request.header(CONTENT_LENGTH, length).body(body()))
    };
    read_place(&client.send(build).await?)
}

/// Ends an upload whose bytes are not wanted.
pub(super) async fn end(client: &Client, url: &str) -> Result<()> {
    client.send(|| Ok(tus(client, Method::DELETE, url).timeout(TIMEOUT))).await.map(drop)
}

pub(super) const fn answer_timeout() -> Duration {
    ANSWER_TIMEOUT
}

fn tus(client: &Client, method: Method, path: &str) -> RequestBuilder {
    client.request(method, path).header("Tus-Resumable", VERSION)
}

fn metadata(project: Uuid, source: &Source) -> String {
    let project = project.to_string();
    let pairs = [("filename", source.name.as_str()), ("projectId", &project), ("folder", &source.folder)];
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    pairs.map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value))).collect::<Vec<_>>().join(",")
}

fn read_place(response: &Response) -> Result<Place> {
    let offset = text(response, "Upload-Offset").and_then(|offset| u64::from_str(offset).ok());
    let known = match text(response, "Nebula-Duplicate") {
        Some("file") => Some(Known::File),
        Some("content") => Some(Known::Content),
        _ => None,
    };
    Ok(Place {
        offset: offset.ok_or_else(|| odd("Upload-Offset"))?,
        file: text(response, CONTENT_LOCATION.as_str()).and_then(file_id),
        known,
    })
}

fn text<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The path of a URL, which may be a whole one.
fn path(location: &str) -> Option<String> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(location.to_owned());
    }
    let url = Url::parse(location).ok()?;
    Some(url.path()[url.path().find("/api/uploads/")?..].to_owned())
}

/// The identifier at the end of `/api/files/ID`.
fn file_id(location: &str) -> Option<Uuid> {
    location.rsplit('/').next()?.parse().ok()
}

fn odd(header: &str) -> Error {
    Error::new(Code::Protocol, format!("the answer of the server has no usable {header}"))
        .hint("Compare the versions: nebulactl --version, nebulactl ping")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn metadata_name_the_file_its_folder_and_the_project() {
        let source = |folder: &str| Source {
            path: PathBuf::from("b.jpg"),
            folder: folder.to_owned(),
            name: "b.jpg".to_owned(),
            size: 1,
            modified: SystemTime::UNIX_EPOCH,
        };
        let at_the_top = metadata(Uuid::nil(), &source(""));
        assert!(at_the_top.starts_with("filename Yi5qcGc=,projectId MDAwMDAw"), "{at_the_top}");
        assert!(metadata(Uuid::nil(), &source("Trip/2024")).ends_with(",folder VHJpcC8yMDI0"));
    }

    #[test]
    fn uploads_are_found_by_the_path_of_their_url() {
        for (location, expected) in [
            ("/api/uploads/1", Some("/api/uploads/1")),
            ("https://home.example/nebula/api/uploads/1", Some("/api/uploads/1")),
            ("//elsewhere/api/uploads/1", None),
            ("https://elsewhere/", None),
        ] {
            assert_eq!(path(location).as_deref(), expected, "{location}");
        }
    }
}
