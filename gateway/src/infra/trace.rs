//! Logs of the process.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For log collectors.
    Json,
}

/// Sends logs to standard error. `RUST_LOG` chooses what is shown, `info` without it.
pub fn init(format: Format) {
    // actix_http reports what clients do wrong as errors: malformed requests, connections that end in the middle.
    let usual = || EnvFilter::new("info,actix_server=warn,actix_http=off");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| usual());
    // At level debug tokio_postgres logs the values of every statement, hashes of passwords and tokens among
    // them.
    let filter = filter.add_directive("tokio_postgres::query=info".parse().expect("it is a directive"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Fails if a subscriber is set already, for example by a test; that one stays.
    let set = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(set);
}
