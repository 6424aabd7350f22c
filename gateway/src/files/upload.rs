//! Uploads on their way in: the staging file.

pub(crate) mod partial;
pub(crate) mod receive;
