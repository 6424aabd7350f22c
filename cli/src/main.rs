//! `nebulactl`: all commands that run on a user's own machines.

use std::process::ExitCode;

use clap::FromArgMatches;

use crate::arguments::{Arguments, Command, is_on_command_line};
use crate::command::{
    account, ca, completions, device, doctor, enrolment, event, file, get, job, join, leave, link, login,
    man, node, peer, ping, play, pool, project, quota, route, rule, share, status, token, upload,
};
use crate::context::Context;
use crate::error::Result;
use crate::output::Output;

mod agent;
mod arguments;
mod atomic_file;
mod client;
mod command;
mod confirm;
mod context;
mod device_folder;
mod error;
mod examples;
mod live_updates;
mod output;
mod pin;
mod retry;
mod secret_file;
mod settings;
mod tunnel_route;
mod usage;

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
        Command::Events(arguments) => event::run(context, arguments).await,
        Command::Join(arguments) => join::run(context, arguments).await,
        Command::Agent(arguments) => command::agent::run(arguments).await,
        Command::Status(arguments) => status::run(context, arguments).await,
        Command::Leave(arguments) => leave::run(context, arguments).await,
        Command::Project(command) => project::run(context, command).await,
        Command::Pool(command) => pool::run(context, command).await,
        Command::Quota(command) => quota::run(context, command).await,
        Command::Account(command) => account::run(context, command).await,
        Command::Token(command) => token::run(context, command).await,
        Command::Device(command) => device::run(context, command).await,
        Command::Rule(command) => rule::run(context, command).await,
        Command::Route(command) => route::run(context, command).await,
        Command::Node(command) => return node::run(context, command).await,
        Command::Peer(command) => return peer::run(context, command).await,
        Command::Enrolment(command) => enrolment::run(context, command).await,
        Command::Ca(command) => ca::run(context, command).await,
        Command::Doctor => return doctor::run(context).await,
        Command::Completions(arguments) => completions::run(context, &arguments, arguments::tree()),
        Command::Man(arguments) => man::run(context, &arguments, arguments::tree()),
    }?;
    Ok(ExitCode::SUCCESS)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let parsed = arguments::tree()
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches).map(|arguments| (matches, arguments)));
    let (matches, Arguments { global, command }) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return usage::report(&error, std::env::args_os()),
    };
    let context = Context {
        output: Output::new(global.json, global.quiet),
        server: global.server,
        token_file: global.token_file,
        is_server_named: is_on_command_line(&matches, "server"),
    };
    match run(command, &context).await {
        Ok(code) => code,
        Err(error) if error.broken_pipe => ExitCode::SUCCESS,
        Err(error) => {
            context.output.failure(&error);
            error.exit_code()
        }
    }
}
