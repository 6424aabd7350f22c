//! `nebulactl`: all commands that run on a user's own machines. This file is the command tree.

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::command::{
    account, ca, device, doctor, enrolment, file, get, job, join, leave, link, login, node, peer, ping, play,
    pool, project, quota, route, rule, share, status, upload,
};
use crate::context::Context;
use crate::error::Result;
use crate::output::Output;

mod agent;
mod atomic_file;
mod client;
mod command;
mod confirm;
mod context;
mod device_folder;
mod error;
mod live_updates;
mod output;
mod retry;
mod settings;
mod tunnel_route;

/// Join a private overlay network, upload, list and play its files.
#[derive(Parser)]
#[command(name = "nebulactl", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 good, 1 failed, 2 wrong usage.
With --json standard output is one JSON document: the result, or after a failure
{\"success\":false,\"error\":CODE,\"sqlstate\":…,\"detail\":SENTENCE,\"hint\":…}. What follows or streams
(jobs --watch, upload --progress) is one document per change.
Settings and sessions are kept in $XDG_CONFIG_HOME/nebulactl or ~/.config/nebulactl, readable by you only.";

#[derive(clap::Args)]
struct Global {
    /// URL of the gateway [default: that of the last login, else http://127.0.0.1:8080]
    #[arg(long, global = true, env = "NEBULA_SERVER", value_name = "URL", value_parser = client::parse_server)]
    server: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    /// Print only what was asked for, and errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Check that the gateway answers, or a device through the overlay
    Ping(ping::Ping),
    /// Sign in
    Login(login::Login),
    /// End the session, here and at the gateway
    Logout,
    /// Upload files and folders; an interrupted upload goes on where it stopped
    Upload(upload::Upload),
    /// List files
    Ls(file::List),
    /// Download a file; an interrupted download goes on where it stopped
    Get(get::Get),
    /// Rename files and folders, or move them into another folder
    Mv(file::relocate::Move),
    /// Put a file into the trash
    Rm(file::remove::Remove),
    /// Files that were deleted: list, delete for good
    Trash(file::trash::Trash),
    /// Take a file out of the trash
    Restore(file::trash::Restore),
    /// Show, add and remove the tags of a file
    Tag(file::tag::Tag),
    /// Play a file in mpv or VLC
    Play(play::Play),
    /// Print URLs of a file that VLC and other players take
    Link(link::Arguments),
    /// Links by which people without an account open a file or a folder
    #[command(subcommand)]
    Share(share::Command),
    /// Background jobs: list, show, cancel, retry
    Jobs(job::Jobs),
    /// Make this machine a member of the overlay network
    Join(join::Join),
    /// Keep this device up to date, and nebula running
    Agent(command::agent::Agent),
    /// Show this machine's device, your account, the gateway and the devices
    Status(status::Status),
    /// Leave the network: stop nebula, and remove the keys
    Leave(leave::Leave),
    /// Projects: isolated overlay networks
    #[command(subcommand)]
    Project(project::Command),
    /// Pools: ranges of overlay addresses
    #[command(subcommand)]
    Pool(pool::Command),
    /// Quotas: what projects and accounts may store
    #[command(subcommand)]
    Quota(quota::Command),
    /// Accounts: who may sign in, sessions, and the members of projects
    #[command(subcommand)]
    Account(account::Command),
    /// Devices: members of a project
    #[command(subcommand)]
    Device(device::Command),
    /// Rules: what the firewall of a project lets through
    #[command(subcommand)]
    Rule(rule::Command),
    /// Routes: networks behind devices
    #[command(subcommand)]
    Route(route::Command),
    /// Nodes: servers that host peers and workers (administrators)
    #[command(subcommand)]
    Node(node::Command),
    /// Peers: WireGuard clients, such as phones, televisions and routers
    #[command(subcommand)]
    Peer(peer::Command),
    /// Codes that let a device join without an account
    #[command(subcommand)]
    Enrolment(enrolment::Command),
    /// Certificate authorities: make, read, list, rotate
    #[command(subcommand)]
    Ca(ca::Command),
    /// Check everything, and name the remedy of each fault
    Doctor,
}

async fn run(command: Command, context: &Context) -> Result<ExitCode> {
    match command {
        Command::Ping(arguments) => ping::run(context, arguments).await,
        Command::Login(arguments) => login::login(context, arguments).await,
        Command::Logout => login::logout(context).await,
        Command::Upload(arguments) => return upload::run(context, arguments).await,
        Command::Ls(arguments) => file::list(context, arguments).await,
        Command::Get(arguments) => get::run(context, arguments).await,
        Command::Mv(arguments) => file::relocate::run(context, arguments).await,
        Command::Rm(arguments) => file::remove::run(context, arguments).await,
        Command::Trash(arguments) => file::trash::run(context, arguments).await,
        Command::Restore(arguments) => file::trash::restore(context, arguments).await,
        Command::Tag(arguments) => file::tag::run(context, arguments).await,
        Command::Play(arguments) => return play::run(context, arguments).await,
        Command::Link(arguments) => link::run(context, arguments).await,
        Command::Share(command) => share::run(context, command).await,
        Command::Jobs(arguments) => job::run(context, arguments).await,
        Command::Join(arguments) => join::run(context, arguments).await,
        Command::Agent(arguments) => command::agent::run(arguments).await,
        Command::Status(arguments) => status::run(context, arguments).await,
        Command::Leave(arguments) => leave::run(context, arguments).await,
        Command::Project(command) => project::run(context, command).await,
        Command::Pool(command) => pool::run(context, command).await,
        Command::Quota(command) => quota::run(context, command).await,
        Command::Account(command) => account::run(context, command).await,
        Command::Device(command) => device::run(context, command).await,
        Command::Rule(command) => rule::run(context, command).await,
        Command::Route(command) => route::run(context, command).await,
        Command::Node(command) => return node::run(context, command).await,
        Command::Peer(command) => return peer::run(context, command).await,
        Command::Enrolment(command) => enrolment::run(context, command).await,
        Command::Ca(command) => ca::run(context, command).await,
        Command::Doctor => return doctor::run(context).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a global option stands on the command line, before or after the subcommand.
fn is_on_command_line(matches: &ArgMatches, option: &str) -> bool {
    matches.value_source(option) == Some(ValueSource::CommandLine)
        || matches.subcommand().is_some_and(|(_, inner)| is_on_command_line(inner, option))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let Arguments { global, command } = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let context = Context {
        output: Output::new(global.json, global.quiet),
        server: global.server,
        is_server_named: is_on_command_line(&matches, "server"),
    };
    match run(command, &context).await {
        Ok(code) => code,
        Err(error) if error.broken_pipe => ExitCode::SUCCESS,
        Err(error) => {
            context.output.failure(&error);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_only_by_the_option_not_by_the_default_or_the_environment() {
        let named = |arguments: &[&str]| {
            let matches = Arguments::command().try_get_matches_from(arguments).unwrap();
            is_on_command_line(&matches, "server")
        };
        assert!(named(&["nebulactl", "--server", "http://a", "join", "--code", "A"]));
        assert!(named(&["nebulactl", "join", "--code", "A", "--server", "http://a"]));
        assert!(!named(&["nebulactl", "join", "--code", "A"]));
    }

    #[test]
    fn the_command_tree_is_valid() {
        Arguments::command().debug_assert();
    }
}
