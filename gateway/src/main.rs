//! `nebula-gateway`: serves, or does what an administrator sets up.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use nebula_gateway::{
    Flags, Format, Settings, check, ensure_account, first_run_link, init_logs, register_token_key,
    show_token_key, start,
};
use tikv_jemallocator::Jemalloc;
use tokio::signal::unix::{SignalKind, signal};

/// With ten thousand waiting agents, a fifth less memory than the system's allocator, and less time per call.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// HTTP face of pg_nebula: accounts, certificates, bytes and the web console. Without a subcommand it serves.
#[derive(Parser)]
#[command(name = "nebula-gateway", version)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Format of log lines; RUST_LOG chooses which are written
    #[arg(long, env = "NEBULA_LOG_FORMAT", value_enum, default_value_t = Format::Text)]
    log_format: Format,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Judge the settings without serving; files that they name need not be there
    Check {
        /// Also judge where devices would find a lighthouse: host:port
        #[arg(long, value_name = "HOST:PORT")]
        endpoint: Option<String>,
    },
    /// Print the public key by which the database verifies the tokens that are signed with NEBULA_TOKEN_KEY
    TokenKey {
        /// Add it to the database; NEBULA_DATABASE_URL is that of an administrator
        #[arg(long)]
        register: bool,
    },
    /// Print the link by which the first person at a new system makes an operator's account, good for a day; nothing once
    /// somebody has signed in. NEBULA_DATABASE_URL is that of an administrator
    FirstRun {
        /// Address of the gateway in the link, such as https://nebula.example.org
        #[arg(long, value_name = "URL")]
        server: String,
    },
    /// Make an account, or set its password; NEBULA_DATABASE_URL is that of an administrator
    Account {
        /// Name to sign in with, lower case
        name: String,
        /// Role: an admin may do everything, a member acts in its projects
        #[arg(long, value_parser = ["admin", "member"])]
        role: String,
        /// File with the password, which does not show in the list of processes
        #[arg(long, value_name = "FILE")]
        password_file: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    init_logs(arguments.log_format);
    let outcome = match arguments.command {
        Some(Command::Account { name, role, password_file }) => {
            ensure_account(arguments.flags, &name, &role, &password_file).await.map(|done| println!("{done}"))
        }
        Some(Command::FirstRun { server }) => first_run_link(arguments.flags, &server)
            .await
            .map(|link| link.iter().for_each(|link| println!("{link}"))),
        Some(Command::TokenKey { register: true }) => {
            register_token_key(arguments.flags).await.map(|done| println!("{done}"))
        }
        Some(Command::TokenKey { register: false }) => {
            show_token_key(arguments.flags).map(|key| println!("{key}"))
        }
        Some(Command::Check { endpoint }) => check(arguments.flags, endpoint.as_deref()),
        None => serve(arguments.flags).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("nebula-gateway: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(flags: Flags) -> Result<()> {
    let running = start(Settings::from_flags(flags)?).await?;
    let listen = |kind| signal(kind).context("signals cannot be received");
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    running
        .until(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping: requests that have begun may finish within 30 s");
        })
        .await
}
