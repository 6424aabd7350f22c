//! `nebula-worker`: runs by default; its hidden subcommand `media` is the child it starts for each file.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nebula_worker::child::Line;
use nebula_worker::settings::Settings;
use nebula_worker::{media, sandbox};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Claims jobs from pg_nebula and does them: turns uploads into MP4 files that every browser plays.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Role {
    /// Converts one file; started by the worker itself.
    #[command(hide = true)]
    Media {
        /// Process that must stay alive.
        #[arg(long)]
        parent: u32,
        /// File to read.
        #[arg(long)]
        input: PathBuf,
        /// File to write.
        #[arg(long)]
        output: PathBuf,
    },
}

fn main() -> ExitCode {
    let Arguments { role, settings } = Arguments::parse();
    let outcome = match role {
        Some(Role::Media { parent, input, output }) => return convert(parent, &input, &output),
        None => work(settings),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nebula-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The worker proper, until SIGTERM or SIGINT.
fn work(settings: Settings) -> Result<(), String> {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,object_store=warn,tokio_postgres=warn"))
        // At debug it prints the values of every statement.
        .add_directive("tokio_postgres::query=info".parse().expect("it is a directive"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let mut signals = signal(kind).map_err(|error| format!("cannot wait for signals: {error}"))?;
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                signals.recv().await;
                shutdown.cancel();
            });
        }
        nebula_worker::run(settings, shutdown).await
    })
}

/// The child: every outcome is a line on stdout, and the exit code says it again.
fn convert(parent: u32, input: &Path, output: &Path) -> ExitCode {
    let confine = || match sandbox::enter(parent, input, output) {
        Ok(true) => Ok(()),
        Ok(false) => {
            eprintln!("this kernel has no landlock: the media process is not confined to its files");
            Ok(())
        }
        Err(error) => {
            let sentence = format!("cannot confine the media process: {error}");
            Err(media::MediaError { sentence, permanent: false })
        }
    };
    let convert = || media::convert(input, output, &mut |progress| say(&Line::Progress(progress)));
    let outcome = confine().and_then(|()| media::init()).and_then(|()| convert());
    let succeeded = outcome.is_ok();
    say(&match outcome {
        Ok(result) => Line::Result { result },
        Err(error) => Line::Error { error: error.sentence, permanent: error.permanent },
    });
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints one line at once; a parent that no longer listens makes the work pointless.
fn say(line: &Line) {
    let mut stdout = std::io::stdout().lock();
    let written = serde_json::to_writer(&mut stdout, line)
        .map_err(std::io::Error::from)
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush());
    if written.is_err() {
        std::process::exit(1);
    }
}
