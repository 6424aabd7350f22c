//! HTTP face of pg_nebula.
//!
//! Every route does the same four things: authenticate, parse, call one `nebula.*` function, answer. What
//! must not be in the database lives here: keys of authorities and signing, tokens and passwords, bytes in
//! and out of object storage, and the web console. `http::routes` is the table of contents: every handler
//! with who may call it.
//!
//! Layers, each of which imports only those below it (`tests/run/circles.py` reads the order here):
//!
//! | layer | task |
//! |---|---|
//! | `http` | routes, handlers, extractors, the shape of failures |
//! | `state` | the services that handlers share |
//! | `domain` | what a request means: registration, the agent protocol, authorities, uploads |
//! | `files` | bytes: byte ranges, streaming, receiving and recognising uploads |
//! | `database`, `infra` | one typed call per SQL function; listeners, metrics, logs, rate limits |
//! | `error` | failures and what they mean to a caller |

mod account;
mod check;
mod database;
mod domain;
mod error;
mod files;
mod http;
mod infra;
mod server;
mod settings;
mod state;
mod token_key;

pub use account::{ensure as ensure_account, first_run as first_run_link};
pub use check::check;
pub use infra::trace::{Format, init as init_logs};
pub use server::{Running, start};
pub use settings::{Flags, Settings};
pub use token_key::{register as register_token_key, show as show_token_key};

/// Version of the gateway.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
