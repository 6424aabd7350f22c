//! The worker's side of pg_nebula's job queue. It knows jobs, not media: each kind of job has its own
//! [`Handler`].
//!
//! | file | role |
//! |---|---|
//! | `handler` | the interface between the queue and the code that does a job |
//! | `registry` | the handler of each kind |
//! | `runner` | the claim loop: listen first, then claim, then sleep |
//! | `listener` | wakes the claim loop on `NOTIFY` |
//! | `executor` | runs claimed jobs to their end and records it |
//! | `attempt` | runs one handler; contains its panics and stops it when it does not stop by itself |
//! | `lease` | sends heartbeats; learns of cancellation and of a lost lease |
//! | `drain` | decides at shutdown which jobs may finish and which are handed back |
//! | `postponed` | how long a job waits that could not be done for a reason outside of it |
//! | `health` | touches the file of the health check |
//! | `database`, `connection`, `error` | all SQL statements, over one connection that is replaced when lost |

mod attempt;
mod connection;
mod database;
mod drain;
mod error;
mod executor;
mod handler;
mod health;
mod lease;
mod listener;
mod postponed;
mod registry;
mod runner;

pub use handler::{Context, Failure, Handler, Job, Outcome, Record, Retry, Stop};
pub use registry::Registry;
pub use runner::Runner;
