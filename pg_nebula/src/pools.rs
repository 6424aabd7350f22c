//! Projects and their pools: ranges that addresses are given out from.

pub(crate) mod cache;
pub(crate) mod pool;
pub(crate) mod populate;
pub(crate) mod project;
