//! SQL types whose values this extension reads and writes as the server stores them.

pub(crate) mod inet;
pub(crate) mod jsonb;
pub(crate) mod timestamp;
