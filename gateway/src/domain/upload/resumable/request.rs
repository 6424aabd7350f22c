//! Requests to an upload, and the answers to them.

use std::net::IpAddr;
use std::time::SystemTime;

use nebula_api::file::UploadQuery;
use openssl::hash::MessageDigest;
use uuid::Uuid;

use crate::files::upload::partial::Duplicate;

/// Where an upload is.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) offset: u64,
    /// `None`: the client does not know it yet.
    pub(crate) size: Option<u64>,
    pub(crate) expires_at: SystemTime,
    pub(crate) metadata: Option<String>,
    /// The file that it has become.
    pub(crate) file_id: Option<Uuid>,
    pub(crate) duplicate: Option<Duplicate>,
    pub(crate) is_part: bool,
    pub(crate) parts: Vec<Uuid>,
}

/// The purpose of a new upload.
#[derive(Debug)]
pub(crate) enum Purpose {
    File(UploadQuery),
    /// To be joined with other parts to a file. It counts to this project, or else to one of the account's.
    Part(Option<Uuid>),
    /// A file that is joined from these parts.
    Join(UploadQuery, Vec<Uuid>),
}

/// A new upload.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) id: Uuid,
    /// A file of this name and size, whose bytes may be the same: the client can compare checksums before it
    /// sends them.
    pub(crate) same_name: Option<Uuid>,
    /// Set if nothing has to be sent: the announced checksum is that of the file.
    pub(crate) progress: Option<Progress>,
}

/// The checksum of the bytes of one request.
pub(crate) struct Checksum {
    pub(super) digest: MessageDigest,
    pub(super) expected: Vec<u8>,
}

impl Checksum {
    pub(crate) fn new(algorithm: &str, expected: Vec<u8>) -> Option<Self> {
        let digest = match algorithm {
            "sha1" => MessageDigest::sha1(),
            "sha256" => MessageDigest::sha256(),
            "md5" => MessageDigest::md5(),
            _ => return None,
        };
        Some(Self { digest, expected })
    }
}

/// Bytes for an upload.
pub(crate) struct Part {
    /// Where they begin, as the client believes.
    pub(crate) offset: u64,
    pub(crate) length: Option<u64>,
    /// The size of the whole upload, if the request says it.
    pub(crate) total: Option<u64>,
    /// Its end is that of the upload.
    pub(crate) is_last: bool,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) address: Option<IpAddr>,
}
