//! Servers that host peers and workers, and the choice among them.

mod choice;
pub(crate) mod claim;
mod lowest;
pub(crate) mod select;
