//! The announcement of an upload: by query, metadata and headers, which tus and the draft of the IETF share.

use std::str::FromStr;

use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nebula_api::file::UploadQuery;
use serde::Deserialize;
use uuid::Uuid;

use crate::error::{ApiError, MEDIA_TYPE};

/// Query of `POST /api/uploads`, for clients that do not say the same in `Upload-Metadata`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct CreateQuery {
    /// Project to upload into; `projectId` in the metadata.
    pub(super) project_id: Option<Uuid>,
    /// Folder to put it into, names joined by slashes; `folder` in the metadata; without it, the top.
    pub(super) folder: Option<String>,
    /// File name, without folders; `filename` or `name` in the metadata.
    pub(super) name: Option<String>,
    /// SHA-256 of the bytes in hexadecimal, if it is known; `sha256` in the metadata.
    pub(super) sha256: Option<String>,
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

pub(super) fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, ApiError> {
    text(headers, name).map(u64::from_str).transpose().map_err(|_| {
        ApiError::bad_argument(format!("the header {name} is no number of bytes"))
            .hint("It takes digits alone.")
    })
}

/// Where the bytes of a request go on, for a body that must have this media type.
pub(super) fn offset(headers: &HeaderMap, media_type: &str) -> Result<u64, ApiError> {
    if text(headers, CONTENT_TYPE.as_str()) != Some(media_type) {
        return Err(ApiError::new(MEDIA_TYPE, "the body is not announced as bytes of an upload")
            .hint(format!("Send Content-Type: {media_type}.")));
    }
    number(headers, "Upload-Offset")?
        .ok_or_else(|| ApiError::bad_argument("the header Upload-Offset is missing").hint("HEAD says it."))
}

/// A value of the metadata: keys and base64, with commas.
fn given(metadata: &str, key: &str) -> Option<String> {
    let mut pairs = metadata.split(',').filter_map(|pair| pair.trim().split_once(' '));
    let (_, value) = pairs.find(|(name, _)| *name == key)?;
    String::from_utf8(BASE64_STANDARD.decode(value.trim()).ok()?).ok()
}

/// The project by the query or else by the metadata.
pub(super) fn project(query: &CreateQuery, metadata: &str) -> Option<Uuid> {
    query.project_id.or_else(|| given(metadata, "projectId")?.parse().ok())
}

/// The file to be uploaded, by the query or else by the metadata.
pub(super) fn wanted(query: CreateQuery, metadata: &str) -> Result<UploadQuery, ApiError> {
    let project_id = project(&query, metadata);
    let given = |key| given(metadata, key);
    let name = query.name.or_else(|| given("filename")).or_else(|| given("name"));
    let (Some(project_id), Some(name)) = (project_id, name) else {
        return Err(ApiError::bad_argument("project and name of the file are missing").hint(
            "Say projectId and filename in Upload-Metadata, in base64, or projectId and name in the query.",
        ));
    };
    let folder = query.folder.or_else(|| given("folder")).unwrap_or_default();
    Ok(UploadQuery { project_id, folder, name, sha256: query.sha256.or_else(|| given("sha256")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_and_the_query_wins() {
        let none = || CreateQuery { project_id: None, folder: None, name: None, sha256: None };
        let id = Uuid::from_u128(7);
        let metadata = format!(
            "filename {}, filetype dmlkZW8=,is_confidential,folder {},projectId {}",
            BASE64_STANDARD.encode("Überfahrt.mkv"),
            BASE64_STANDARD.encode("a/b"),
            BASE64_STANDARD.encode(id.to_string())
        );
        let read = wanted(none(), &metadata).unwrap();
        assert_eq!((read.name.as_str(), read.project_id, read.sha256), ("Überfahrt.mkv", id, None));
        assert_eq!(read.folder, "a/b");
        let named = wanted(CreateQuery { name: Some("b".to_owned()), ..none() }, &metadata).unwrap();
        assert_eq!(named.name, "b");
        for bad in ["", "filename YQ==", "filename %,projectId YQ=="] {
            assert!(wanted(none(), bad).is_err(), "{bad}");
        }
    }
}
