//! The worker's side of pg_nebula's job queue. Knows jobs, not media: everything kind-specific is a [`Handler`].
//!
//! | file | role |
//! |---|---|
//! | `handler` | what whoever does a job and the queue tell each other |
//! | `registry` | which handler does which kind |
//! | `runner` | the loop: listen first, then look, then sleep |
//! | `listener` | wakes the loop; comes back after every outage |
//! | `slot` | sees one job after the other through |
//! | `attempt` | runs a handler so that neither a panic nor a deaf one harms the worker |
//! | `lease` | keeps a claimed job ours, and learns when it is not |
//! | `drain` | who may finish when the worker stops, and who is handed back |
//! | `health`, `backoff` | the file that says the worker is well; waiting longer from try to try |
//! | `database`, `connection`, `error` | every statement, over a connection that comes back by itself |

mod attempt;
mod backoff;
mod connection;
mod database;
mod drain;
mod error;
mod handler;
mod health;
mod lease;
mod listener;
mod registry;
mod runner;
mod slot;

pub use error::QueueError;
pub use handler::{Context, Failure, Handler, Job, Outcome, Record, Report, Stop};
pub use registry::Registry;
pub use runner::Runner;
