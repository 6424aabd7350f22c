//! Uploads on their way in: the staging file, the kind of the content, the completeness of a container.

mod container;
pub(crate) mod receive;
pub(crate) mod sniff;
