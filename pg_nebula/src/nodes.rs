//! Servers that host peers and workers.

pub(crate) mod register;
pub(crate) mod select;
