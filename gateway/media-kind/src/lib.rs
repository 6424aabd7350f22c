//! Which bytes are film or sound: one list of containers and one recognition for the gateway, which takes uploads, and
//! the worker, which reads them. Pure, without libav: the worker finds out in its sandbox whether a file really plays.

mod boxes;
mod container;
mod ebml;
mod encryption;
mod extent;
mod frames;
mod inspect;
pub mod language;
mod reader;
mod signature;
mod transport;

pub use container::{CONTAINERS, Container, demuxers};
pub use encryption::encryption;
pub use extent::{Extent, extent};
pub use inspect::{ContentError, HEAD_SIZE, inspect, inspect_head};
pub use signature::Kind;
