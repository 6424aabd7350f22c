//! The verbs: one file per word.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::client::Client;
use crate::error::Result;
use crate::output::Output;
use crate::settings::Settings;

pub(crate) mod agent;
pub(crate) mod ca;
pub(crate) mod device;
pub(crate) mod doctor;
pub(crate) mod enrolment;
pub(crate) mod file;
pub(crate) mod get;
pub(crate) mod job;
pub(crate) mod join;
pub(crate) mod leave;
pub(crate) mod login;
pub(crate) mod node;
pub(crate) mod ping;
pub(crate) mod play;
pub(crate) mod pool;
pub(crate) mod project;
pub(crate) mod status;
pub(crate) mod upload;

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// How to answer.
    pub(crate) output: Output,
    /// The server named on the command line or in the environment.
    pub(crate) server: Option<String>,
}

impl Context {
    /// The gateway to talk to.
    ///
    /// # Errors
    /// Settings that cannot be read.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::new(self.server.as_deref(), Settings::locate())
    }
}

/// Where a program is, by `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(runs)
}
