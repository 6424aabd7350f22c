//! Uploads on their way in: the staging file.

pub(crate) mod receive;
