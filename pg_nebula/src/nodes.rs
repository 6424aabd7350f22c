//! Servers that host peers and workers.

pub(crate) mod select;
