//! The storage URL: which backend, and where.

use std::path::PathBuf;

use reqwest::Url;

use crate::{StoreError, key};

/// The backend that a storage URL names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Folder(PathBuf),
    Bucket(BucketLocation),
}

/// An S3 bucket; credentials are not part of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BucketLocation {
    pub(crate) bucket: String,
    /// Without slashes at its ends; empty for the whole bucket.
    pub(crate) prefix: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
}

pub(crate) fn parse(text: &str) -> Result<Location, StoreError> {
    // The error does not repeat the URL, which may contain a password.
    let url = Url::parse(text).map_err(|error| StoreError::Url(format!("cannot be parsed ({error})")))?;
    if url.password().is_some() || !url.username().is_empty() {
        return Err(StoreError::Url(
            "credentials do not belong in it, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into(),
        ));
    }
    match url.scheme() {
        "file" => folder(&url),
        "s3" => bucket(&url),
        other => Err(StoreError::Url(format!("scheme {other:?} is not supported"))),
    }
}

fn folder(url: &Url) -> Result<Location, StoreError> {
    if url.query().is_some() {
        return Err(StoreError::Url("a folder takes no parameters".into()));
    }
    match url.to_file_path() {
        Ok(path) if path.parent().is_some() => Ok(Location::Folder(path)),
        _ => Err(StoreError::Url("it must name an absolute folder on this machine, below /".into())),
    }
}

fn bucket(url: &Url) -> Result<Location, StoreError> {
    let bucket = url.host_str().filter(|host| !host.is_empty());
    let bucket = bucket.ok_or_else(|| StoreError::Url("the bucket's name is missing".into()))?.to_owned();
    let prefix = url.path().trim_matches('/').to_owned();
    if !prefix.is_empty() {
        key::validate(&prefix)?;
    }
    let mut location = BucketLocation { bucket, prefix, endpoint: None, region: None };
    for (name, value) in url.query_pairs() {
        match name.as_ref() {
            "endpoint" if value.starts_with("http://") || value.starts_with("https://") => {
                location.endpoint = Some(value.trim_end_matches('/').to_owned());
            }
            "endpoint" => return Err(StoreError::Url("endpoint must start with http:// or https://".into())),
            "region" => location.region = Some(value.into_owned()),
            other => return Err(StoreError::Url(format!("unknown parameter {other:?}"))),
        }
    }
    Ok(Location::Bucket(location))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_buckets_are_read() {
        assert_eq!(parse("file:///srv/a%20b").unwrap(), Location::Folder("/srv/a b".into()));
        assert_eq!(
            parse("s3://media/team/?endpoint=http://127.0.0.1:9000&region=garage").unwrap(),
            Location::Bucket(BucketLocation {
                bucket: "media".into(),
                prefix: "team".into(),
                endpoint: Some("http://127.0.0.1:9000".into()),
                region: Some("garage".into()),
            })
        );
    }

    #[test]
    fn an_invalid_url_is_refused_without_repeating_a_password() {
        for bad in [
            "",
            "/srv",
            "file:///",
            "file://host/x",
            "ftp://x/y",
            "s3:///x",
            "s3://b?endpoint=ftp://x",
            "s3://b?key=1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let error = parse("s3://id:hunter2@bucket").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
