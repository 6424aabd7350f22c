//! Bytes of files: which range is asked for, streaming them out, receiving and recognising uploads.

pub(crate) mod marker;
pub(crate) mod range;
pub(crate) mod stream;
pub(crate) mod upload;
