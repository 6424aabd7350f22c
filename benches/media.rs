//! Films and files: the worker beside the `ffmpeg` program, the gateway beside nginx.

pub(crate) mod films;
mod http;
mod measure;
mod nginx;
pub(crate) mod ranges;
mod slow_readers;
mod sources;
pub(crate) mod uploads;
pub(crate) mod workers;
