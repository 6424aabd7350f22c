//! `nebula-worker`: runs by default; its hidden subcommand `media` is the child it starts for each file.

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use nebula_worker::child::Message;
use nebula_worker::media;
use nebula_worker::media::{Event, Input, MediaError, Task};
use nebula_worker::sandbox::Confinement;
use nebula_worker::settings::Settings;
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
    Media(MediaArguments),
}

#[derive(Args)]
struct MediaArguments {
    /// Process id of the worker; the child is killed when the worker dies.
    #[arg(long)]
    parent: u32,
    /// File to read.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Bytes of an object that the worker serves over the standard input.
    #[arg(long, conflicts_with = "input", required_unless_present = "input")]
    served: Option<u64>,
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
    /// Device that encodes and decodes, where it can.
    #[arg(long)]
    device: Option<PathBuf>,
    /// Niceness.
    #[arg(long, default_value_t = 10)]
    nice: u8,
    /// Threads of each codec; 0: as many as there are processors.
    #[arg(long, default_value_t = 0)]
    threads: u16,
}

fn main() -> ExitCode {
    let Arguments { role, settings } = Arguments::parse();
    let outcome = match role {
        Some(Role::Media(arguments)) => return media(&arguments),
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
fn media(arguments: &MediaArguments) -> ExitCode {
    let MediaArguments { input: path, output, pieces, task, .. } = arguments;
    let confine = || {
        let inputs = path.iter().chain(pieces).map(PathBuf::as_path).collect();
        let confinement = Confinement {
            parent: arguments.parent,
            inputs,
            served: arguments.served.unwrap_or(0),
            output,
            room: arguments.room,
            nice: arguments.nice,
        };
        match confinement.enter() {
            Ok(true) => Ok(()),
            Ok(false) => {
                eprintln!("this kernel has no landlock: the media process is not confined to its files");
                Ok(())
            }
            Err(error) => Err(MediaError::transient(format!("cannot confine the media process: {error}"))),
        }
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
        // Nothing of the upload is read yet, and a device needs its drivers.
        media::init(usize::from(arguments.threads), arguments.device.as_deref())?;
        confine()?;
        media::run(&task, &input(arguments)?, pieces.as_deref(), output, tell)
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

/// The upload: a file, or an object behind the standard input.
fn input(arguments: &MediaArguments) -> Result<Input, MediaError> {
    if let Some(path) = &arguments.input {
        return Ok(Input::File(path.clone()));
    }
    let failed = |error| MediaError::transient(format!("there is no way to the upload: {error}"));
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    Ok(Input::served(arguments.served.unwrap_or(0), socket))
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
