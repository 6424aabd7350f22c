//! `nebula-worker`: runs by default; its hidden subcommand `media` is the child it starts for each file.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use nebula_worker::child::Message;
use nebula_worker::media::{Event, MediaError, Task};
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
    /// Does the media work of one job; started by the worker itself.
    #[command(hide = true)]
    Media {
        /// Process id of the worker; the child is killed when the worker dies.
        #[arg(long)]
        parent: u32,
        /// File to read.
        #[arg(long)]
        input: PathBuf,
        /// File to write; further files lie beside it.
        #[arg(long)]
        output: PathBuf,
        /// Folder with the pieces to join.
        #[arg(long)]
        pieces: Option<PathBuf>,
        /// The work, as JSON.
        #[arg(long)]
        task: String,
        /// Bytes that the output may have, because the disk has no room for more.
        #[arg(long)]
        room: Option<u64>,
    },
}

fn main() -> ExitCode {
    let Arguments { role, settings } = Arguments::parse();
    let outcome = match role {
        Some(Role::Media { parent, input, output, pieces, task, room }) => {
            return media(parent, &input, pieces.as_deref(), &output, &task, room);
        }
        None => work(settings),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nebula-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the worker until SIGTERM or SIGINT.
fn work(settings: Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,object_store=warn,tokio_postgres=warn"))
        // At level debug tokio_postgres logs the parameters of every statement.
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
        .context("cannot start")?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let mut signals = signal(kind).context("cannot wait for signals")?;
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                signals.recv().await;
                shutdown.cancel();
            });
        }
        Ok(nebula_worker::run(settings, shutdown).await?)
    })
}

/// The child process: does one task and prints its news and its outcome as JSON lines.
fn media(
    parent: u32,
    input: &Path,
    pieces: Option<&Path>,
    output: &Path,
    task: &str,
    room: Option<u64>,
) -> ExitCode {
    let inputs: Vec<&Path> = std::iter::once(input).chain(pieces).collect();
    let confine = || match sandbox::enter(parent, &inputs, output, room) {
        Ok(true) => Ok(()),
        Ok(false) => {
            eprintln!("this kernel has no landlock: the media process is not confined to its files");
            Ok(())
        }
        Err(error) => Err(MediaError::transient(format!("cannot confine the media process: {error}"))),
    };
    let task: Result<Task, _> = serde_json::from_str(task).map_err(|error| {
        MediaError::transient(format!("the task of the media process is malformed: {error}"))
    });
    let tell = &mut |event| {
        print_message(&match event {
            Event::Progress(progress) => Message::Progress(progress),
            Event::Piece(piece) => Message::Piece { piece },
        });
    };
    let outcome = task.and_then(|task| {
        confine()?;
        media::init()?;
        media::run(&task, input, pieces, output, tell)
    });
    let succeeded = outcome.is_ok();
    print_message(&match outcome {
        Ok(result) => Message::Result { result },
        Err(MediaError { message, permanent, no_room }) => {
            Message::Error { error: message, permanent, no_room }
        }
    });
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints one line and flushes it. When the parent no longer reads, the work is pointless and the process
/// exits.
fn print_message(message: &Message) {
    let mut stdout = std::io::stdout().lock();
    let written = serde_json::to_writer(&mut stdout, message)
        .map_err(std::io::Error::from)
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush());
    if written.is_err() {
        std::process::exit(1);
    }
}
