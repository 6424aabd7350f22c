//! Projects and their pools, the ranges that addresses are assigned from.

pub(crate) mod cache;
pub(crate) mod families;
pub(crate) mod pool;
pub(crate) mod populate;
pub(crate) mod project;
