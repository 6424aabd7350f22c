//! The command tree: global options and verbs, as clap parses them.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, Parser, Subcommand};

use crate::command::{
    self, account, ca, completions, device, enrolment, event, file, get, job, join, leave, link, login, man,
    node, peer, ping, play, pool, project, quota, route, rule, share, status, token, upload,
};
use crate::{client, examples};

/// Join a private overlay network, upload, list and play its files.
#[derive(Parser)]
#[command(name = "nebulactl", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Exit status: 0 good, 1 failed, 2 wrong usage.
With --json standard output is one JSON document: the result, or after a failure
{\"success\":false,\"error\":CODE,\"sqlstate\":…,\"detail\":SENTENCE,\"hint\":…}. What follows or streams
(jobs --watch, upload --progress) is one document per change.
Settings and sessions are kept in $XDG_CONFIG_HOME/nebulactl or ~/.config/nebulactl, readable by you only.";

#[derive(clap::Args)]
pub(crate) struct Global {
    /// URL of the gateway [default: that of the last login, else http://127.0.0.1:8080]
    #[arg(
        long,
        global = true,
        env = "NEBULA_SERVER",
        hide_env_values = true,
        help_heading = "Global options",
        value_name = "URL",
        value_parser = client::parse_server
    )]
    pub(crate) server: Option<String>,
    /// Act by the personal token in the first line of this file instead of a session; - is standard input. The
    /// variable NEBULA_TOKEN gives the token itself
    #[arg(
        long,
        global = true,
        env = "NEBULA_TOKEN_FILE",
        hide_env_values = true,
        help_heading = "Global options",
        value_name = "FILE"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Print only what was asked for, and errors
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
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
    /// Events: who did what, when, and from where
    Events(event::Events),
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
    /// Personal tokens, by which programs act for you
    #[command(subcommand)]
    Token(token::Command),
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
    /// Print what lets a shell complete commands and options
    Completions(completions::Completions),
    /// Write the manual pages of all commands
    Man(man::Man),
}

/// The command tree with the examples of each command in its help.
pub(crate) fn tree() -> clap::Command {
    examples::add(Arguments::command())
}

/// Whether a global option stands on the command line, before or after the subcommand.
pub(crate) fn is_on_command_line(matches: &ArgMatches, option: &str) -> bool {
    matches.value_source(option) == Some(ValueSource::CommandLine)
        || matches.subcommand().is_some_and(|(_, inner)| is_on_command_line(inner, option))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_only_by_the_option_not_by_the_default_or_the_environment() {
        let named = |arguments: &[&str]| {
            let matches = tree().try_get_matches_from(arguments).unwrap();
            is_on_command_line(&matches, "server")
        };
        assert!(named(&["nebulactl", "--server", "http://a", "join", "--code", "A"]));
        assert!(named(&["nebulactl", "join", "--code", "A", "--server", "http://a"]));
        assert!(!named(&["nebulactl", "join", "--code", "A"]));
    }

    #[test]
    fn the_command_tree_is_valid() {
        tree().debug_assert();
    }

    /// Help of a command and of those below it; that of the global options only once.
    fn help(command: &mut clap::Command, text: &mut String) {
        let path = command.get_bin_name().unwrap_or("nebulactl").to_owned();
        let (mut is_global, is_root) = (false, text.is_empty());
        text.push_str(&format!("=== {path} ===\n"));
        for line in command.render_help().to_string().lines() {
            is_global = !line.is_empty() && (is_global || line == "Global options:" && !is_root);
            if !is_global {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
            help(below, text);
        }
    }

    /// NEBULA_WRITE_SURFACE=1 stores the present one.
    #[test]
    fn the_help_of_all_commands_equals_the_stored_one() {
        let mut tree = tree().term_width(100);
        tree.build();
        let mut text = String::new();
        help(&mut tree, &mut text);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/help.txt");
        if std::env::var_os("NEBULA_WRITE_SURFACE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap();
        let differs = stored.lines().zip(text.lines()).find(|(stored, now)| stored != now);
        assert_eq!(differs, None, "run again with NEBULA_WRITE_SURFACE=1 if that is meant");
        assert_eq!(stored, text);
    }
}
