//! Servers that host peers and workers, and the choice among them.

mod choice;
pub(crate) mod claim;
pub(crate) mod generation;
mod lowest;
mod seat;
pub(crate) mod select;
