//! Servers that host peers and workers, and the selection among them.

pub(crate) mod claim;
mod criteria;
pub(crate) mod generation;
mod lowest;
mod seat;
pub(crate) mod select;
